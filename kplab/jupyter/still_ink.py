"""What the still picture is drawn with: colours on a background of its own, and text in letters of one width.

No script, no style sheet and no font comes from outside, and every colour is an attribute: GitHub and mail programs
leave out the rest. SVG does not break lines, so letters of one width are what makes a line's length known.
"""

from __future__ import annotations

import textwrap
from html import escape

from kplab.model.journey import Direction, Evidence

WIDTH = 1040
MARGIN = 16
SIZE = 12
LETTER = 7.25
"""Width of a letter of SIZE, of the widest of FONT (DejaVu Sans Mono), a little rounded up."""
LINE = 17
FONT = "DejaVu Sans Mono, Menlo, Consolas, monospace"

TEXT, BEHIND, PANEL, RULE, MUTED = "#1c232b", "#fbfaf6", "#f3f2ec", "#b9c2cc", "#5c6670"
MATCH, CHANGED, WRONG, MARKED = "#00694b", "#6b5a00", "#b3261e", "#fff3a8"
WAY: dict[Direction, str] = {"request": "#005f9e", "reply": "#8a4b00"}
EVIDENCE: dict[Evidence, tuple[str, str]] = {
    "seen": ("●", MATCH), "rebuilt": ("◐", WAY["request"]), "modelled": ("○", WAY["reply"])
}  # fmt: skip


def write(
    x: float, y: float, text: str, fill: str = TEXT, *, bold: bool = False, size: int = SIZE, end: bool = False
) -> str:
    """Return one line of text that begins (or ends, with `end`) at `x`; `y` is its base line."""
    looks = (' font-weight="700"' if bold else "") + (f' font-size="{size}"' if size != SIZE else "")
    anchor = ' text-anchor="end"' if end else ""
    return f'<text x="{x:g}" y="{y:g}" fill="{fill}"{looks}{anchor}>{escape(text, quote=False)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str, stroke: str = "none") -> str:
    """Return a rectangle with round corners."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" fill="{fill}" stroke="{stroke}"/>'


def letters(width: float, size: int = SIZE) -> int:
    """Return how many letters fit into `width`."""
    return max(int(width / (LETTER * size / SIZE)), 4)


def clip(text: str, most: int) -> str:
    """Cut a text to `most` letters, with an ellipsis where something was cut."""
    return text if len(text) <= most else text[: most - 1] + "…"


def wrap(text: str, most: int) -> list[str]:
    """Break a text into lines of at most `most` letters."""
    return textwrap.wrap(text, most, break_on_hyphens=False) or [""]
