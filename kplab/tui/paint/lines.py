"""What every painter makes: lines of spans, each span a text and the name of its style.

A style's name says what is meant ("match", "wrong"), never a colour; the theme chooses colours, and wherever a
style means something, a mark or a word says it too.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from rich.cells import cell_len, set_cell_size

StyleName = Literal[
    "plain", "muted", "strong", "title", "rule", "request", "reply", "match", "skip", "fold", "end", "changed", "old",
    "lit", "lit-reply", "now", "wrong", "notice", "seen", "rebuilt", "modelled", "key", "link", "good", "cursor",
]  # fmt: skip
STYLE_NAMES: tuple[StyleName, ...] = StyleName.__args__  # type: ignore[attr-defined]  # a Literal's own list


class Span(NamedTuple):
    """A text in one style; `action` is a Textual action run by a click on it."""

    text: str
    style: StyleName = "plain"
    action: str = ""


Line = tuple[Span, ...]


def line(*parts: Span | str) -> Line:
    """Make a line of spans and plain texts; empty ones are left out."""
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts if _text(part))


def joined(cells: Iterable[tuple[str, StyleName, str]]) -> Line:
    """Make a line of single characters, each with its style and action; neighbours alike become one span."""
    spans: list[Span] = []
    for char, style, action in cells:
        if spans and spans[-1].style == style and spans[-1].action == action:
            spans[-1] = Span(spans[-1].text + char, style, action)
        else:
            spans.append(Span(char, style, action))
    return tuple(spans)


def _text(part: Span | str) -> str:
    return part.text if isinstance(part, Span) else part


def text_of(painted: Line) -> str:
    """Return a line's text without its styles."""
    return "".join(span.text for span in painted)


def width_of(painted: Iterable[Span]) -> int:
    """Return how many cells the spans take."""
    return sum(cell_len(span.text) for span in painted)


def clip(text: str, width: int) -> str:
    """Cut a text to `width` cells, with an ellipsis where something was cut."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + "…"


def fit(text: str, width: int) -> str:
    """Cut or pad a text to exactly `width` cells."""
    return set_cell_size(clip(text, width), max(width, 0))


def clip_line(painted: Line, width: int) -> Line:
    """Cut a line to `width` cells."""
    left, kept = width, []
    for span in painted:
        size = cell_len(span.text)
        if size > left:
            if left > 0:
                kept.append(span._replace(text=clip(span.text, left)))
            break
        kept.append(span)
        left -= size
    return tuple(kept)


def spread(left: Line, right: Line, width: int) -> Line:
    """Put `left` and `right` at the two ends of a line; the left one is cut when there is no room for both."""
    room = width - width_of(right) - 1
    if room <= 0:
        return clip_line(left, width)
    shown = clip_line(left, room)
    return (*shown, Span(" " * (width - width_of(shown) - width_of(right))), *right)


def wrap(text: str, width: int, limit: int | None = None) -> list[str]:
    """Break a text into lines of `width` cells; with a `limit`, the last line is cut."""
    rows = textwrap.wrap(text, max(width, 8), break_long_words=True, break_on_hyphens=False) or [""]
    if limit is not None and len(rows) > limit:
        rows = [*rows[: limit - 1], clip(" ".join(rows[limit - 1 :]), width)]
    return rows


def plain_text(painted: Sequence[Line]) -> str:
    """Return painted lines as text, for tests and screen readers."""
    return "\n".join(text_of(row).rstrip() for row in painted)
