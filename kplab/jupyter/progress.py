"""What is seen while a lab is built: one output that is renewed in place, and ends as one line.

In a notebook an output with an id of its own is updated, so that a saved or converted notebook holds the last state.
On a terminal the line is written over itself; into a pipe nothing is written.
"""

from __future__ import annotations

import sys
from html import escape
from typing import Any, Protocol

from kplab.session.base import Step

USUAL_STEPS = 6
"""Of a lab in namespaces; a guest's start comes before them. The bar is filled by what is done, and never runs back."""


class _Handle(Protocol):
    def update(self, obj: Any) -> None: ...


class Shown:
    """An output that has an HTML and a text form."""

    def __init__(self, html: str, text: str) -> None:
        self._html = html
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._html


class BuildProgress:
    """Takes the steps of a lab's start. `finish` leaves one line, `fail` none but what the error says."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._handle: _Handle | None = None
        self._done = 0
        self._begun: set[str] = set()

    def __call__(self, step: Step) -> None:
        """Show a step that has begun or ended."""
        self._begun.add(step.name)
        self._done += step.done
        total = max(USUAL_STEPS, len(self._begun))
        text = f"{self._title}: {step.name} ({step.seconds:.1f} s)"
        bar = f'<progress value="{self._done}" max="{total}"></progress>'
        self._show(Shown(f"<div>{bar} {escape(text)}</div>", text))

    def say(self, text: str) -> None:
        """Show what is being done where nobody knows how much there is."""
        shown = f"{self._title}: {text}"
        self._show(Shown(f"<div>{escape(shown)}</div>", shown))

    def finish(self, line: str) -> None:
        """Replace the bar by a line that stays."""
        self._show(Shown(f"<div>{escape(line)}</div>", line), last=True)

    def _show(self, shown: Shown, *, last: bool = False) -> None:
        if not in_notebook():
            if sys.stderr.isatty():
                sys.stderr.write(f"\r\x1b[K{shown!r}" + ("\n" if last else ""))
                sys.stderr.flush()
            return
        if self._handle is None:
            from IPython.display import display

            self._handle = display(shown, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(shown)


def in_notebook() -> bool:
    """Tell whether a notebook's kernel runs this."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module else None
    return shell is not None and hasattr(shell, "kernel")
