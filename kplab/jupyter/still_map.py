"""The still picture's map: every box that the packet met, both ways between them, and the addresses on each."""

from __future__ import annotations

from dataclasses import dataclass

from kplab.jupyter.still_ink import (
    BEHIND,
    MARGIN,
    MUTED,
    PANEL,
    RULE,
    TEXT,
    WAY,
    WIDTH,
    box,
    clip,
    letters,
    write,
)
from kplab.model.journey import Direction, Flow, Hop
from kplab.scene.frame import Board, Station
from kplab.scene.timeline import Timeline

_ROW = 17
_HEAD = 44
_BOX = 148
_LEAST_GAP = 40
_WAY_SIZE = 10


@dataclass(frozen=True, slots=True)
class Drawn:
    """A piece of the picture, and how high it is."""

    svg: str
    height: float


def draw_map(timeline: Timeline, hops: tuple[Hop, ...], y: float) -> Drawn:
    """Draw the map with its upper edge at `y`; `hops` are those whose way is drawn."""
    board = timeline.board
    if not board.stations:
        return Drawn("", 0)
    size, gap = _sizes(len(board.stations))
    rows = max(4, *(len(station.hooks) for station in board.stations))
    height = _HEAD + rows * _ROW + 10
    ways = _ways(timeline, hops)
    passed = {
        (node, hook, way)
        for index in _ends(hops)
        for node, hook, way in timeline.at(timeline.rest_of(index)).map.passed
    }
    parts: list[str] = []
    for place, station in enumerate(board.stations):
        x = MARGIN + place * (size + gap)
        parts.append(_station(station, passed, (x, y, size, height)))
        if place + 1 < len(board.stations):
            parts.append(_edge(board, place, ways, (x + size, y, gap, height)))
    others = f" · also in the lab: {' '.join(board.others)}" if board.others else ""
    legend = clip(f"● request, upper way · ◆ reply, lower way{others}", letters(WIDTH - 2 * MARGIN, 11))
    parts.append(write(MARGIN, y + height + 16, legend, MUTED, size=11))
    return Drawn("".join(parts), height + 24)


def _sizes(count: int) -> tuple[float, float]:
    """Return the width of a box and of the way between two."""
    room = WIDTH - 2 * MARGIN
    size = min(_BOX, (room - (count - 1) * _LEAST_GAP) / count)
    gap = (room - count * size) / max(count - 1, 1)
    return size, min(gap, 300.0)


def _ends(hops: tuple[Hop, ...]) -> list[int]:
    """Return the last hop (0-based) of each packet: where all of its way lies behind it."""
    return sorted({(hop.packet, hop.direction): hop.n - 1 for hop in hops}.values())


def _ways(timeline: Timeline, hops: tuple[Hop, ...]) -> dict[tuple[str, str], tuple[Direction, Flow]]:
    """Return the direction and the headers of the first crossing of each way between two boxes."""
    found: dict[tuple[str, str], tuple[Direction, Flow]] = {}
    for hop in hops:
        place = timeline.at(timeline.beats[hop.n - 1].start).map.place
        if place is not None and place.toward is not None:
            found.setdefault((place.station, place.toward), (hop.direction, hop.after))
    return found


def _station(station: Station, passed: set[tuple[str, str, Direction]], at: tuple[float, float, float, float]) -> str:
    x, y, width, height = at
    most = letters(width - 16)
    parts = [
        box(x, y, width, height, PANEL, RULE),
        write(x + 8, y + 18, clip(station.name, most), TEXT, bold=True),
        write(
            x + 8,
            y + 34,
            clip(station.addresses[0] if station.addresses else "", letters(width - 16, 11)),
            MUTED,
            size=11,
        ),
    ]
    for row, hook in enumerate(station.hooks):
        ways = {way for name, one, way in passed if (name, one) == (station.name, hook)}
        sign = "↔" if len(ways) == 2 else "→" if "request" in ways else "←" if "reply" in ways else " "
        ink = WAY["request" if "request" in ways else "reply"] if ways else MUTED
        base = y + _HEAD + 12 + row * _ROW
        parts.append(write(x + 8, base, sign, ink, bold=True))
        parts.append(write(x + 24, base, clip(hook, most - 2), TEXT if ways else MUTED))
    return "".join(parts)


def _edge(
    board: Board, place: int, ways: dict[tuple[str, str], tuple[Direction, Flow]], at: tuple[float, float, float, float]
) -> str:
    x, y, gap, height = at
    edge = board.edges[place]
    parts = []
    for way, base, right in (
        ((edge.left, edge.right), y + 40, True),
        ((edge.right, edge.left), y + height - 34, False),
    ):
        found = ways.get(way)
        if found is not None:
            parts.append(_way(x, base, gap, found[0], right=right))
            parts.append(_addresses(x, base, gap, found[1]))
    if edge.via:
        middle = x + gap / 2 - len(edge.via) * 7.25 * _WAY_SIZE / 24
        parts.append(write(middle, y + 14, edge.via, MUTED, size=_WAY_SIZE))
    return "".join(parts)


def _way(x: float, y: float, gap: float, direction: Direction, *, right: bool) -> str:
    ink = WAY[direction]
    begin, end = x + 3, x + gap - 3
    tip, back = (end, -8) if right else (begin, 8)
    mark = (
        f'<circle cx="{x + gap / 2:g}" cy="{y:g}" r="5" fill="{ink}" stroke="{BEHIND}"/>'
        if direction == "request"
        else f'<path d="M{x + gap / 2:g} {y - 6:g}l6 6l-6 6l-6 -6z" fill="{ink}" stroke="{BEHIND}"/>'
    )
    line = f'<path d="M{begin:g} {y:g}H{end:g}" stroke="{ink}" stroke-width="2"/>'
    return f'{line}<path d="M{tip:g} {y:g}l{back} -5v10z" fill="{ink}"/>{mark}'


def _addresses(x: float, y: float, gap: float, flow: Flow) -> str:
    """Write source and destination over and under a way, where there is room."""
    most = letters(gap - 4, _WAY_SIZE)
    source, target = f"{flow.src} →", f"→ {flow.dst}"
    if max(len(source), len(target)) > most:
        return ""
    over = write(x + gap / 2 - len(source) * 7.25 * _WAY_SIZE / 24, y - 10, source, MUTED, size=_WAY_SIZE)
    under = write(x + gap / 2 - len(target) * 7.25 * _WAY_SIZE / 24, y + 18, target, MUTED, size=_WAY_SIZE)
    return over + under
