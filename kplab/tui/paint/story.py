"""The five answers in words: where, what changed, why, what next, and how we know."""

from __future__ import annotations

from kplab.model.journey import Evidence
from kplab.scene.frame import Banner, CtLine, CtMark, Frame, HeaderField
from kplab.tui.paint.lines import Line, Span, StyleName, clip, clip_line, line, spread, width_of, wrap

EVIDENCE: dict[Evidence, str] = {"seen": "●", "rebuilt": "◐", "modelled": "○"}
MEANING: dict[Evidence, str] = {
    "seen": "the kernel said so",
    "rebuilt": "from the kernel's own state",
    "modelled": "our model says so",
}
_CT: dict[CtMark, tuple[str, StyleName, str]] = {
    "new": ("+", "changed", "new in this hop"),
    "changed": ("~", "changed", "changed in this hop"),
    "used": ("=", "request", "used in this hop"),
    "destroyed": ("-", "old", "destroyed in this hop"),
    "": (" ", "muted", ""),
}


def paint_where(frame: Frame, width: int) -> Line:
    """Paint where the packet is, and how we know."""
    if frame.hop < 0:
        return line(Span("Nothing was sent yet.", "muted"))
    evidence = frame.evidence or "modelled"
    right = line(Span(f"{EVIDENCE[evidence]} {evidence}", evidence), Span(f": {MEANING[evidence]}", "muted"))
    where = frame.where.replace(" · ", " ▸ ")
    if width < 70:
        right = right[:1]
    return spread(line(Span(where, "strong")), right, width)


def paint_headers(headers: tuple[HeaderField, ...], width: int) -> list[Line]:
    """Paint the header fields on one line, or two; a changed one with its old value struck through.

    A mark of 0 is left out: it is what every packet has that nobody marked.
    """
    rows: list[Line] = [()]
    for field in headers:
        if field.name == "mark" and field.value == "0x0" and not field.changed:
            continue
        spans = _field(field)
        if rows[-1] and width_of(rows[-1]) + 3 + width_of(spans) > width:
            rows.append(())
        rows[-1] = (*rows[-1], *((Span("   "),) if rows[-1] else ()), *spans)
    return [clip_line(row, width) for row in rows]


def _field(field: HeaderField) -> Line:
    name = "" if field.name == "proto" else f"{field.name} "
    if field.was is None:
        return line(Span(name, "muted"), Span(field.value))
    return line(Span(name, "muted"), Span(field.was, "old"), Span(" ⇒ ", "changed"), Span(field.value, "changed"))


def paint_telling(frame: Frame, width: int, height: int) -> list[Line]:
    """Paint why, in the hop's own sentence, and what comes next, in at most `height` lines."""
    if frame.hop < 0:
        told = frame.sentence or "What the kernel does with your packet is shown here, step by step."
        return [line(Span(row, "muted")) for row in wrap(told, width, height)]
    rows = wrap(frame.sentence, width - 6, max(height - 1, 1))
    if rows[-1].endswith("…"):
        rows[-1] = clip(rows[-1], width - 15) + " (y: all)"
    painted = [line(Span("why   " if i == 0 else "      ", "muted"), Span(row)) for i, row in enumerate(rows)]
    return [*painted, line(Span("next  ", "muted"), Span(clip(frame.next, width - 6), "muted"))][:height]


def paint_entries(entries: tuple[CtLine, ...], width: int, *, live: bool = False) -> list[Line]:
    """Paint the conntrack entries of a journey, two or three lines each."""
    head = line(Span("conntrack, as of this hop", "title"), Span("   v: the live table", "muted") if live else Span(""))
    if not entries:
        return [head, line(Span("No conntrack entry was made or used up to this hop.", "muted"))]
    painted: list[Line] = [head]
    for entry in entries:
        mark, style, words = _CT[entry.mark]
        name = f"id {entry.id}" if entry.id is not None else ""
        name_line = line(
            Span(f"{mark} ", style), Span(f"{entry.node} ", "title"), Span(f"{name} ", "muted"),
            Span(f"{entry.state or ''} ", "strong"), Span(words, style),
        )  # fmt: skip
        painted.append(clip_line(name_line, width))
        painted.append(clip_line(line(Span("    sent   ", "muted"), Span(entry.original, "request")), width))
        painted.append(clip_line(line(Span("    answer ", "muted"), Span(entry.reply, "reply")), width))
    return painted


def paint_banners(banners: tuple[Banner, ...], notices: tuple[str, ...], width: int) -> list[Line]:
    """Paint what must be said: disagreements and losses with "!", a replay's notice with its word."""
    texts = [f"! {banner.text}" for banner in banners] + [f"! {notice}" for notice in notices]
    return [line(Span(row, "wrong")) for text in texts for row in wrap(text, width, 2)]
