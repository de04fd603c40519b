"""The walk: one line a rule, its number, its mark, what it asks, and why it was passed over or what it does."""

from __future__ import annotations

from collections.abc import Sequence

from kplab.scene.frame import LineMark, Walk, WalkLine
from kplab.tui.paint.lines import Line, Span, StyleName, clip, fit, line, spread
from kplab.tui.paint.story import EVIDENCE

MARKS: dict[LineMark, str] = {"match": "✓", "skip": "✗", "fold": "…", "end": "↩", "lookup": "≡"}
_STYLES: dict[LineMark, StyleName] = {
    "match": "match",
    "skip": "skip",
    "fold": "fold",
    "end": "end",
    "lookup": "request",
}
_DEEPEST = 6
"""Indentation stops growing here; a cell is dear."""


def short_chain(name: str) -> str:
    """Shorten a chain's hash: KUBE-SVC-YTGZ2JEENUBCE3T3 becomes `KUBE-SVC-YTGZ…`."""
    head, _, tail = name.rpartition("-")
    return f"{head}-{tail[:4]}…" if len(tail) == 16 and head.startswith("KUBE-") else name


def paint_walk_title(walk: Walk | None, width: int) -> Line:
    """Paint the line over the walk: where it is, the chains on the way in, and the running count."""
    if walk is None:
        return line(Span("no rule was tried yet", "muted"))
    path = " → ".join(short_chain(name) for name in walk.path) or (walk.hook or "")
    where = f"{walk.node} · {walk.table or '?'} · "
    head = "" if walk.running else "last walk: "
    room = max(width - len(f"tried {walk.tried:,}") - len(head) - len(where) - 1, 8)
    if len(path) > room:
        path = "… " + path[-(room - 2) :]
    right = line(Span(f"tried {walk.tried:,}", "strong" if walk.running else "muted"))
    return spread(line(Span(head, "muted"), Span(where, "muted"), Span(path, "title")), right, width)


def paint_walk_line(row: WalkLine, width: int, *, now: bool) -> Line:
    """Paint one line; `now` marks the one that the packet is at."""
    depth = min(row.depth, _DEEPEST)
    number = f"{row.number:>4}" if row.number is not None else "    "
    head = f"{'▶' if now else ' '}{EVIDENCE[row.evidence]} {'  ' * depth}"
    room = width - len(head) - 8
    asks = _asks_width(row, room)
    style = _STYLES[row.mark]
    if row.mark == "fold":
        return line(
            Span(head, "now" if now else "muted"),
            Span(f"     … {row.rule}: {row.note}", "fold"),
            Span("  o", "key"),
            Span(" unfolds", "muted"),
        )
    if row.mark == "end":
        return line(
            Span(head, "now" if now else "muted"), Span(f"     ↩ {clip(f'{row.rule}: {row.note}', room)}", style)
        )
    if row.disagreement:
        return line(
            Span(head, "now" if now else "muted"), Span(f"{number} ! {fit(row.rule, asks)}", "wrong"),
            Span(" " + clip(f"disagrees: {row.disagreement}", room - asks), "wrong"),
        )  # fmt: skip
    note: StyleName = "match" if row.mark in {"match", "lookup"} else "muted"
    return line(
        Span(head, "now" if now else "muted"),
        Span(f"{number} ", "muted"),
        Span(f"{MARKS[row.mark]} ", style),
        Span(fit(row.rule, asks), "now" if now and row.mark == "match" else style),
        Span("  " + clip(row.note, room - asks - 1), note),
    )


def _asks_width(row: WalkLine, room: int) -> int:
    """Return how much of the room the condition gets: a fixed share, unless the reason or it needs more."""
    share = min(max(room * 46 // 100, 12), max(room - 10, 8))
    asks, note = len(row.rule), len(row.note) + 2
    if asks <= share < asks + note <= room or (asks <= share and note > room - share):
        return max(asks, min(share, room - note))
    return max(share, min(asks, room - note))


def paint_walk(lines: Sequence[WalkLine], width: int, *, running: bool) -> list[Line]:
    """Paint a walk's lines; the last one is where the packet is while the walk is running."""
    last = len(lines) - 1
    return [paint_walk_line(row, width, now=running and i == last) for i, row in enumerate(lines)]
