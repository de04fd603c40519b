"""A fold's rules, on demand: what the kernel answers when somebody unfolds a long walk in the widget.

A chain that was walked through 4,000 Services' rules would make the widget's state a megabyte, read by nobody; so its
rules stay here, and go out in pages when they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kplab.scene.frame import WalkLine
from kplab.scene.walks import unfold

PAGE = 200
"""Rules in one answer."""


class FoldPages:
    """Answers the front-end's questions for folded rules."""

    def __init__(self, folds: Mapping[int, WalkLine]) -> None:
        """`folds`: folded lines by their place in the widget's state."""
        self._folds = folds

    def answer(self, question: object) -> dict[str, Any] | None:
        """Return the answer to one message; None for a message that is no question for a fold of this journey.

        Asked: `{"kind": "unfold", "line": place, "from": n}`. Answered: `{"kind": "rules", "line": place, "from": n,
        "rules": [[number, rule, why it was passed over, the rule's full text], …]}`, at most PAGE of them.
        """
        match question:
            case {"kind": "unfold", "line": int(place), "from": int(first)} if place in self._folds and first >= 0:
                lines = unfold(self._folds[place])[first : first + PAGE]
                rules = [[line.number, line.rule, line.note, line.full] for line in lines]
                return {"kind": "rules", "line": place, "from": first, "rules": rules}
            case _:
                return None
