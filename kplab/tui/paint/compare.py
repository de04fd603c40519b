"""One column of two modes side by side: where, hooks, headers, counts, walk or lookup, why, next, how we know."""

from __future__ import annotations

from collections.abc import Sequence

from kplab.model.journey import Lookup
from kplab.scene.differences import Difference
from kplab.scene.frame import Asked, Frame, Walk, WalkLine
from kplab.scene.lookups import answer_of, counted
from kplab.scene.moments import Shown, TrackMark
from kplab.tui.paint.lines import Line, Span, StyleName, clip, clip_line, line, spread, width_of, wrap
from kplab.tui.paint.map import PACKET, lay_out, paint_map
from kplab.tui.paint.story import EVIDENCE, MEANING, paint_entries
from kplab.tui.paint.walk import MARKS, paint_walk, short_chain

_ROOMY = (64, 28)
"""Cells and rows of a column from which the map has boxes, and a walk line its usual form."""
_UNFOLDS = ("  o", " unfolds")
"""What a fold says of a key that this screen has not: `y` shows a hop in full."""
_SHORT_HOOKS = {
    "PREROUTING": "PRE", "INPUT": "IN", "FORWARD": "FWD", "OUTPUT": "OUT", "POSTROUTING": "POST", "kube-proxy": "proxy",
}  # fmt: skip
_STYLES: dict[str, StyleName] = {"match": "match", "skip": "skip", "fold": "fold", "end": "end", "lookup": "request"}


def paint_column(shown: Shown, width: int, height: int, *, entries: bool = False) -> list[Line]:
    """Paint one column of `height` rows; with `entries` conntrack's stand in place of the walk."""
    roomy = width >= _ROOMY[0] and height >= _ROOMY[1]
    top = [*_where(shown, width), *_way(shown.frame, width, roomy=roomy), *_headers(shown, width)]
    top.append(_counts(shown, width))
    why = _why(shown, width, 4 if roomy else 3)
    room = max(height - len(top) - len(why) - 1, 0)
    rule: Line = (Span("─" * width, "rule"),)
    body = _entries(shown, width) if entries else _work(shown, width, room, roomy=roomy)
    body = body[:room] if entries else body[-room:] if room else []
    beneath = _entries(shown, width) if roomy and not entries and shown.frame.walk is not None else []
    if 1 < len(beneath) < room - len(body):
        body += [()] * (room - len(body) - len(beneath)) + beneath
    body += [()] * (room - len(body))
    return [clip_line(row, width) for row in (*top, rule, *body, *why)][:height]


def _where(shown: Shown, width: int) -> list[Line]:
    """Paint where the packet is, with the evidence; a column that waits says so."""
    frame = shown.frame
    if shown.hop is None:
        return [line(Span("not begun yet", "muted"))]
    evidence = shown.hop.evidence
    told = f"{EVIDENCE[evidence]} {evidence}"
    if width >= _ROOMY[0]:
        told += f": {MEANING[evidence]}"
    right = line(Span(told, evidence)) if shown.acting else line(Span(f"{EVIDENCE[evidence]} waits", "muted"))
    names = " ▸ ".join(short_chain(part) for part in frame.where.split(" · "))
    return [spread(line(Span(names, "strong" if shown.acting else "muted")), right, width)]


def _way(frame: Frame, width: int, *, roomy: bool) -> list[Line]:
    """Paint the map: its boxes where there is room for them, else the boxes' names and the hooks of the one."""
    if roomy and frame.board.stations and sum(lay_out(frame.board, width).boxes[-1]) <= width:
        return paint_map(frame.board, frame.map, width)[:-1]
    place = frame.map.place
    spans: list[Span] = []
    for station in frame.board.stations:
        if spans:
            spans.append(Span("─▶" if frame.map.direction == "request" else "◀─", "rule"))
        here = place is not None and place.station == station.name
        mark = PACKET[frame.map.direction] if here else ""
        spans.append(Span(f"{mark}{station.name}", ("request" if frame.map.direction == "request" else "reply"))
                     if here else Span(station.name, "muted"))  # fmt: skip
    return [tuple(spans), _hooks(frame, width)]


def _hooks(frame: Frame, width: int) -> Line:
    """Paint the hooks of the box that the packet is in, its own lit; those of the way are named otherwise."""
    place = frame.map.place
    station = frame.board.station(place.station) if place else None
    if place is None or station is None or place.toward is not None:
        return line(Span(f"  on the way to {place.toward}" if place and place.toward else "", "muted"))
    if not station.hooks:
        return line(Span(f"  {station.addresses[0] if station.addresses else station.role}", "muted"))
    passed = {hook for name, hook, _ in frame.map.passed if name == station.name}
    short = sum(len(hook) + 3 for hook in station.hooks) > width
    spans: list[Span] = []
    for hook in station.hooks:
        name = _SHORT_HOOKS.get(hook, hook) if short else hook
        here = hook == place.hook
        style: StyleName = ("lit" if frame.map.direction == "request" else "lit-reply") if here else "muted"
        spans += [Span(" ▸ " if spans else "", "rule"), Span(name, "plain" if hook in passed and not here else style)]
    return line(*spans)


def _headers(shown: Shown, width: int) -> list[Line]:
    """Paint source and destination, a line each; a rewritten one with its old value struck through."""
    if shown.hop is None:
        return [(), ()]
    rows = []
    for field in shown.frame.headers[:2]:
        if field.was is None or not shown.acting:
            rows.append(line(Span(f"{field.name} ", "muted"), Span(field.value)))
            continue
        told = line(
            Span(f"{field.name} ", "muted"),
            Span(field.was, "old"),
            Span(" ⇒ ", "changed"),
            Span(field.value, "changed"),
        )
        if width_of(told) > width:
            told = line(Span(f"{field.name} ", "muted"), Span("⇒ ", "changed"), Span(field.value, "changed"))
        rows.append(told)
    return rows


def _counts(shown: Shown, width: int) -> Line:
    """Paint the running counts, their names short where the column is narrow."""
    tally = shown.tally
    long = width >= _ROOMY[0]
    names = (
        ("rules tried" if long else "rules", tally.rules), ("lookups", tally.lookups),
        ("rewritten" if long else "rewr", tally.rewritten), ("conntrack entries" if long else "ct", tally.conntrack),
        ("IPVS entries" if long else "ipvs", tally.ipvs),
    )  # fmt: skip
    spans: list[Span] = []
    for name, number in names:
        if name.lower().startswith("ipvs") and not number:
            continue
        spans += [
            Span((" · " if long else " ") if spans else "", "rule"),
            Span(f"{name} ", "muted"),
            Span(f"{number:,}", "strong"),
        ]
    return line(*spans)


def _work(shown: Shown, width: int, room: int, *, roomy: bool) -> list[Line]:
    """Paint what the kernel does: the lookup or IPVS's choice if this hop is one, else the walk."""
    frame, hop = shown.frame, shown.hop
    if hop is None:
        return []
    asked = frame.asked if frame.asked is not None and frame.asked.here else None
    rows: list[Line] = []
    if frame.walk is not None:
        rows = _walk(frame.walk, width, roomy=roomy, now=shown.acting)
    if asked is None:
        return rows or _entries(shown, width)[:room]
    told = _asked(asked, width)
    return [*rows[-max(room - len(told), 0) :], *told] if room > len(told) else told


def _walk(walk: Walk, width: int, *, roomy: bool, now: bool) -> list[Line]:
    """Paint a walk: each line once, what it asks and why it was passed over or what it does."""
    running = walk.running and now
    head = line(
        Span("" if walk.running else "last walk: ", "muted"),
        Span(f"{walk.table or walk.hook or '?'} · tried {walk.tried:,}", "title" if running else "muted"),
    )
    if roomy:
        rows = paint_walk(walk.lines, width, running=running)
        return [head, *(tuple(span for span in row if span.text not in _UNFOLDS) for row in rows)]
    last = len(walk.lines) - 1
    return [head, *(_tight(row, width, now=running and n == last) for n, row in enumerate(walk.lines))]


def _tight(row: WalkLine, width: int, *, now: bool) -> Line:
    """Paint a walk's line in a narrow column: the condition, then the reason as far as there is room."""
    mark = f"{'▶' if now else ' '}{MARKS[row.mark]} "
    if row.disagreement:
        return line(Span("! ", "wrong"), Span(clip(f"disagrees: {row.disagreement}", width - 2), "wrong"))
    number = f"{row.number} " if row.number is not None else ""
    if row.mark in ("match", "lookup"):
        told = f"{number}{clip(row.rule, max(width * 5 // 12, 8))} {short_chain(row.note)}"
    elif row.mark == "end":
        told = f"{short_chain(row.chain)}: {row.note}"
    else:
        told = f"{number}{row.rule}: {row.note}"
    return line(Span(mark, "now" if now else _STYLES[row.mark]), Span(clip(told, width - 3), _STYLES[row.mark]))


def _asked(asked: Asked, width: int) -> list[Line]:
    """Paint the key, the element that answered, and how much was asked; or what IPVS chose among."""
    rows: list[Line] = []
    if asked.lookup is not None:
        rows.append(line(Span(f"≡ {asked.lookup.map}", "title"), Span(f"  {_among(asked.lookup, width)}", "strong")))
        names = " . ".join(field.name for field in asked.fields)
        values = " . ".join(field.value for field in asked.fields)
        rows += [line(Span("key  ", "muted"), Span(clip(names, width - 5), "muted"))] if names != "key" else []
        rows.append(line(Span("   = " if names != "key" else "key  ", "muted"), Span(values, "request")))
        hit = asked.lookup.element is not None
        rows += [
            line(Span(("✓ " if hit else "✗ ") if n == 0 else "  ", "match" if hit else "wrong"), Span(text))
            for n, text in enumerate(wrap(answer_of(asked.lookup), width - 2, 2))
        ]
    if asked.ipvs is not None:
        choice = asked.ipvs
        rows.append(line(Span(f"≡ {choice.virtual_server}", "title"), Span(f"  {choice.scheduler}", "strong")))
        for server in choice.candidates:
            chosen = server.address == choice.chosen
            told = f"{server.address} weight {server.weight}, {server.active_before}→{server.active_after} active"
            rows.append(line(Span("✓ " if chosen else "  ", "match"), Span(told, "match" if chosen else "plain")))
    return rows


def _among(lookup: Lookup, width: int) -> str:
    """Say how much was asked, in fewer words where the column is narrow."""
    said = counted(lookup)
    return said if width >= _ROOMY[0] else said.partition(" element")[0]


def _entries(shown: Shown, width: int) -> list[Line]:
    return paint_entries(shown.frame.conntrack, width) if shown.hop is not None else []


def _why(shown: Shown, width: int, rows: int) -> list[Line]:
    """Paint the hop's own sentence, and what comes next, in `rows` rows."""
    if shown.hop is None:
        return [()] * rows
    style: StyleName = "plain" if shown.acting else "muted"
    told = [line(Span(text, style)) for text in wrap(shown.frame.sentence, width, rows - 1)]
    told += [()] * (rows - 1 - len(told))
    return [*told, line(Span("next ", "muted"), Span(clip(shown.frame.next, width - 5), "muted"))]


def paint_tracks(tracks: Sequence[tuple[str, tuple[TrackMark, ...]]], at: int, width: int) -> list[Line]:
    """Paint a row a column: a mark for each step, a dot where that one has nothing; a long way shows a part of it."""
    size = max((len(name) for name, _ in tracks), default=0) + 1
    room = max(width - size - 2, 1)
    count = max((len(track) for _, track in tracks), default=0)
    first = min(max(at - room // 2, 0), max(count - room, 0))
    rows: list[Line] = []
    for name, track in tracks:
        spans = [Span(f"{name:<{size}}", "title"), Span("‹" if first > 0 else " ", "strong")]
        spans += [_track_mark(mark, n, at) for n, mark in enumerate(track[first : first + room], start=first)]
        spans.append(Span("›" if first + room < count else " ", "strong"))
        rows.append(tuple(spans))
    return rows


def _track_mark(mark: TrackMark, number: int, at: int) -> Span:
    char = "!" if mark.disagreement else EVIDENCE[mark.evidence] if mark.evidence else "·"
    style: StyleName = "cursor" if number == at else "wrong" if mark.disagreement else "request"
    if number != at and (number > at or mark.evidence is None):
        style = "muted"
    return Span(char, style, f"screen.seek({number})")


def paint_difference(told: Difference | None, width: int, height: int) -> list[Line]:
    """Paint what differs, in at most `height` rows."""
    if told is None:
        return []
    style: StyleName = "muted" if told.same else "changed"
    rows = wrap(told.text, width - 2, height)
    return [line(Span(("= " if told.same else "≠ ") if n == 0 else "  ", style), Span(text, style))
            for n, text in enumerate(rows)]  # fmt: skip
