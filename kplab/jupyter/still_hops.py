"""The still picture's hops: a line each, with its reason, what it rewrote, and how we know.

Of a whole connection the first packet, its first reply, and every packet in which something was decided are told hop
by hop; the others, which conntrack alone carries, take one line each.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from kplab.jupyter.still_ink import (
    CHANGED,
    EVIDENCE,
    LINE,
    MARGIN,
    MARKED,
    MUTED,
    PANEL,
    TEXT,
    WAY,
    WIDTH,
    WRONG,
    box,
    clip,
    letters,
    wrap,
    write,
)
from kplab.model.journey import CtEntry, Direction, Hop
from kplab.scene.schedule import is_passed
from kplab.scene.timeline import header_fields

_NUMBER = MARGIN + 30
_SIGN = MARGIN + 40
_NODE = MARGIN + 58
_TOLD = MARGIN + 176
_MOST = letters(WIDTH - MARGIN - _TOLD)
_GAP = 4

Told = tuple[list[str], float]
"""Pieces of the picture, and the height that they take."""


def draw_hops(hops: tuple[Hop, ...], y: float) -> Told:
    """Draw every packet from `y` on."""
    parts: list[str] = []
    begun = y
    for (packet, direction), run in groupby(hops, key=lambda hop: (hop.packet, hop.direction)):
        own = tuple(run)
        pieces, height = _packet(packet, direction, own, y) if is_told(own, hops) else _quiet(packet, direction, own, y)
        parts += pieces
        y += height
    return parts, y - begun


def is_told(own: tuple[Hop, ...], hops: tuple[Hop, ...]) -> bool:
    """Tell whether a packet is told hop by hop: the first ones of both directions are, and all that brings news."""
    first = next(hop for hop in hops if hop.direction == own[0].direction)
    return first.packet == own[0].packet or any(_is_news(hop) for hop in own)


def told_hops(hops: tuple[Hop, ...]) -> tuple[Hop, ...]:
    """Return the hops of the packets that are told hop by hop."""
    runs = [tuple(run) for _, run in groupby(hops, key=lambda hop: (hop.packet, hop.direction))]
    return tuple(hop for run in runs if is_told(run, hops) for hop in run)


def _is_news(hop: Hop) -> bool:
    """Tell whether a later packet's hop is none of those that every packet of a connection has."""
    if hop.disagreement or hop.kind in {"dropped", "rejected", "socket", "proxy"} or hop.ipvs is not None:
        return True
    if hop.conntrack is not None and hop.conntrack.change == "new":
        return True
    return hop.kind in {"rule", "lookup"} and hop.before != hop.after


def _packet(packet: int, direction: Direction, own: tuple[Hop, ...], y: float) -> Told:
    first = own[0]
    head = f"packet {packet}, {direction}: {first.before.proto} {first.before.src} → {first.before.dst}"
    parts = [
        box(MARGIN, y + 6, WIDTH - 2 * MARGIN, 22, PANEL),
        write(MARGIN + 8, y + 21, head, WAY[direction], bold=True),
    ]
    height = 34.0
    for hop in own:
        pieces, taken = _hop(hop, y + height)
        parts += pieces
        height += taken
    return parts, height + _GAP


def _quiet(packet: int, direction: Direction, own: tuple[Hop, ...], y: float) -> Told:
    """Draw a packet in one line: where it went, how its addresses were rewritten, its connection's state."""
    stations = list(dict.fromkeys(hop.node for hop in own))
    begin, end = own[0].before, own[-1].after
    ends = f"{begin.src} → {begin.dst}"
    if (begin.src, begin.dst) != (end.src, end.dst):
        ends += f"  ⇒  {end.src} → {end.dst}"
    state = next((entry.state for entry in _changed_entries(own) if entry.state), None)
    tail = f", conntrack {state}" if state else ""
    head = f"packet {packet}, {direction}: {' → '.join(stations)}, {len(own)} hops, nothing new{tail}"
    parts = [
        write(MARGIN + 8, y + 15, clip(head, letters(WIDTH - 2 * MARGIN - 8)), WAY[direction]),
        write(MARGIN + 26, y + 15 + LINE, clip(ends, letters(WIDTH - 2 * MARGIN - 26)), MUTED),
    ]
    return parts, 2 * LINE + _GAP


def _changed_entries(own: tuple[Hop, ...]) -> Iterator[CtEntry]:
    """Yield the conntrack entries that a packet changed, the last first; one that it only used shows a later state."""
    for hop in reversed(own):
        if hop.conntrack is not None and hop.conntrack.change != "used":
            yield hop.conntrack


def _hop(hop: Hop, y: float) -> Told:
    quiet = is_passed(hop)
    sign, ink = EVIDENCE[hop.evidence]
    parts: list[str] = []
    base = y + 13
    if hop.disagreement:
        sign, ink = "!", WRONG
    for number, (text, fill) in enumerate(_rows(hop, quiet=quiet)):
        if fill == CHANGED:
            parts.append(box(_TOLD - 4, base + number * LINE - 13, len(text) * 7.25 + 8, LINE, MARKED))
        parts.append(write(_TOLD, base + number * LINE, text, fill))
    height = len(_rows(hop, quiet=quiet)) * LINE + (0 if quiet else _GAP)
    head = [
        write(_NUMBER, base, str(hop.n), MUTED, end=True),
        write(_SIGN, base, sign, ink, bold=True),
        write(_NODE, base, clip(hop.node, letters(_TOLD - _NODE - 6)), MUTED if quiet else TEXT, bold=not quiet),
    ]
    return [*head, *parts], height


def _rows(hop: Hop, *, quiet: bool) -> list[tuple[str, str]]:
    """Return the lines of a hop's right part with their colours."""
    if quiet:
        return [(clip(hop.text, _MOST), MUTED)]
    rows = [(text, TEXT) for text in wrap(hop.text, _MOST)]
    rows += [(clip(text, _MOST), CHANGED) for text in _rewritten(hop)]
    rows += [
        (text, WRONG) for text in wrap(f"model and kernel disagree: {hop.disagreement}", _MOST) if hop.disagreement
    ]
    return rows


def _rewritten(hop: Hop) -> Iterator[str]:
    for field in header_fields(hop.before, hop.after):
        if field.was is not None:
            yield f"{field.name} {field.was} ⇒ {field.value}"
