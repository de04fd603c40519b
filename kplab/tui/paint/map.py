"""The map: boxes from left to right, the way out above, the way back beneath, and one mark that moves."""

from __future__ import annotations

from dataclasses import dataclass

from kplab.model.journey import Direction
from kplab.scene.frame import Board, MapState, Place, Station
from kplab.tui.paint.canvas import Canvas
from kplab.tui.paint.lines import Line, Span, StyleName, clip, clip_line, line

PACKET: dict[Direction, str] = {"request": "●", "reply": "◆"}
_LIT: dict[Direction, StyleName] = {"request": "lit", "reply": "lit-reply"}
_HOOK_CELLS = 13
"""POSTROUTING, the longest hook's name, and its mark."""
_EDGE_LEAST = 4
_EDGE_MOST = 32


@dataclass(frozen=True, slots=True)
class Columns:
    """Where boxes stand: the first column and width of each."""

    boxes: tuple[tuple[int, int], ...]
    rows: int
    """Rows inside a box beneath the row of its address."""

    @property
    def height(self) -> int:
        """Rows of the boxes, borders included."""
        return self.rows + 3


def lay_out(board: Board, width: int) -> Columns:
    """Place a board's boxes in `width` cells; boxes shrink before the ways between them do."""
    count = len(board.stations)
    wanted = [_box_width(station) for station in board.stations]
    room = width - sum(wanted)
    least = [_least_edge(edge.via) for edge in board.edges]
    spare = room - sum(least)
    while spare < 0 and max(wanted, default=0) > 8:
        widest = wanted.index(max(wanted))
        wanted[widest] -= 1
        spare += 1
    if spare > 2 * count + 2:
        wanted = [size + 2 for size in wanted]
        spare -= 2 * count
    grow = min(max(spare, 0) // max(count - 1, 1), _EDGE_MOST - _EDGE_LEAST)
    edges = [max(size + grow, 3) for size in least]
    boxes, x = [], 0
    for index, size in enumerate(wanted):
        boxes.append((x, size))
        x += size + (edges[index] if index < len(edges) else 0)
    rows = max([4, *(len(station.hooks) for station in board.stations)])
    return Columns(tuple(boxes), rows)


def _least_edge(via: str | None) -> int:
    return max(_EDGE_LEAST, len(via) + 2) if via else _EDGE_LEAST


def _box_width(station: Station) -> int:
    address = station.addresses[0] if station.addresses else ""
    inside = max(len(station.name) + 2, len(address), _HOOK_CELLS if station.hooks else 0)
    return min(inside, 18) + 2


def paint_map(board: Board, state: MapState, width: int) -> list[Line]:
    """Paint the whole map with its caption; `width` in cells."""
    columns = lay_out(board, width)
    canvas = Canvas(width, columns.height)
    upper, lower = 2, columns.rows + 1
    for index in range(len(board.edges)):
        _paint_edge(canvas, board, state, columns, index, (upper, lower))
    for station, (x, size) in zip(board.stations, columns.boxes, strict=True):
        _paint_box(canvas, station, state, x, size, columns.rows)
    place = state.place
    if place is not None and place.toward is not None:
        _paint_moving(canvas, board, columns, place, state.direction, (upper, lower))
    return [*canvas.lines(), clip_line(_caption(board), width)]


def _caption(board: Board) -> Line:
    legend = line(Span("● request ", "request"), Span(" ◆ reply", "reply"), Span("   m: look inside", "muted"))
    if not board.others:
        return legend
    return (*legend, Span("   also in the lab: " + " ".join(board.others), "muted"))


def _paint_box(canvas: Canvas, station: Station, state: MapState, x: int, size: int, rows: int) -> None:
    place = state.place
    here = place is not None and place.toward is None and place.station == station.name
    edge: StyleName = ("request" if state.direction == "request" else "reply") if here else "rule"
    name = clip(station.name, size - 4)
    canvas.put(x, 0, "╭ " + " " * len(name) + " " + "─" * (size - len(name) - 4) + "╮", edge)
    canvas.put(x + 2, 0, name, "strong" if here else "title")
    for y in range(1, rows + 2):
        canvas.put(x, y, "│" + " " * (size - 2) + "│", edge)
    canvas.put(x, rows + 2, "╰" + "─" * (size - 2) + "╯", edge)
    if station.addresses:
        canvas.put(x + 1, 1, clip(station.addresses[0], size - 2).center(size - 2), "muted")
    for row, hook in enumerate(station.hooks):
        _paint_hook(canvas, station, hook, state, (x + 1, 2 + row, size - 2))
    if here and place is not None and place.hook not in station.hooks:
        canvas.put(x + 1, 3, clip(f"{PACKET[state.direction]} here", size - 2), _LIT[state.direction])
    canvas.act(x, 0, size, rows + 3, f"screen.look('{station.name}')")


def _paint_hook(canvas: Canvas, station: Station, hook: str, state: MapState, at: tuple[int, int, int]) -> None:
    x, y, width = at
    place = state.place
    if place is not None and place.toward is None and (place.station, place.hook) == (station.name, hook):
        canvas.put(x, y, clip(f"{PACKET[state.direction]} {hook}", width).ljust(width), _LIT[state.direction])
        return
    ways = {way for name, passed, way in state.passed if (name, passed) == (station.name, hook)}
    mark = "↔" if len(ways) == 2 else "→" if "request" in ways else "←" if "reply" in ways else " "
    style: StyleName = "muted" if not ways else "reply" if ways == {"reply"} else "request"
    canvas.put(x, y, mark, style)
    canvas.put(x + 2, y, clip(hook, width - 2), "plain" if ways else "muted")


def _paint_edge(
    canvas: Canvas, board: Board, state: MapState, columns: Columns, index: int, lanes: tuple[int, int]
) -> None:
    edge = board.edges[index]
    begin = sum(columns.boxes[index])
    size = columns.boxes[index + 1][0] - begin
    for y, (origin, target) in zip(lanes, ((edge.left, edge.right), (edge.right, edge.left)), strict=True):
        done = next((lane for lane in state.lanes if (lane.origin, lane.target) == (origin, target)), None)
        ahead = state.place is None or any((lane.origin, lane.target) == (origin, target) for lane in state.ahead)
        rightward = origin == edge.left
        if done is not None:
            way = "─" * (size - 1)
            style: StyleName = "request" if done.direction == "request" else "reply"
            canvas.put(begin, y, way + "▶" if rightward else "◀" + way, style)
        else:
            way = ("·" if ahead else " ") * (size - 1)
            head = "▷" if rightward else "◁"
            canvas.put(begin, y, way + head if rightward else head + way, "rule")
    if edge.via and size >= len(edge.via):
        middle = (lanes[0] + lanes[1]) // 2
        canvas.put(begin + (size - len(edge.via)) // 2, middle, edge.via, "muted")


def _paint_moving(
    canvas: Canvas, board: Board, columns: Columns, place: Place, direction: Direction, lanes: tuple[int, int]
) -> None:
    spot = moving_cell(board, columns, place)
    if spot is None:
        return
    rightward = board.index(place.station) < board.index(place.toward or "")
    canvas.put(spot, lanes[0] if rightward else lanes[1], PACKET[direction], _LIT[direction])


def moving_cell(board: Board, columns: Columns, place: Place) -> int | None:
    """Return the column of a packet that is under way, None when one of its boxes is not on the map."""
    a, b = board.index(place.station), board.index(place.toward or "")
    if a < 0 or b < 0 or a == b:
        return None
    low, high = min(a, b), max(a, b)
    first, last = sum(columns.boxes[low]), columns.boxes[high][0] - 1
    share = place.progress if a < b else 1.0 - place.progress
    return first + round((last - first) * share)
