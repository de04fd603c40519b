"""The timeline: a mark for each hop, its shape for its evidence, requests and replies parted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from kplab.scene.frame import Banner, Mark
from kplab.tui.paint.lines import Line, Span, StyleName, joined
from kplab.tui.paint.story import EVIDENCE


@dataclass(slots=True)
class _Cell:
    char: str
    style: StyleName
    hop: int = -1
    above: str = " "


def paint_timeline(marks: tuple[Mark, ...], hop: int, banners: tuple[Banner, ...], width: int) -> list[Line]:
    """Paint two lines: the namespaces above, the marks beneath; a long journey shows the part around `hop`."""
    if not marks:
        return [(Span(" " * width),), (Span("·" * width, "rule"),)]
    lost = next((banner for banner in banners if banner.kind == "lost"), None)
    tail = [_Cell(char, "wrong") for char in " ╳ " + lost.text.split(",")[0]] if lost else []
    for pitch, padded in ((2, True), (2, False), (1, True), (1, False)):
        cells = _cells(marks, hop, pitch, padded=padded) + tail
        if len(cells) <= width:
            break
    first = _window(cells, hop, width)
    shown = cells[first : first + width]
    if first > 0:
        shown[0] = _Cell("‹", "strong")
    if first + width < len(cells):
        shown[-1] = _Cell("›", "strong")
    return [
        joined((cell.above, "muted", "") for cell in shown),
        joined((cell.char, cell.style, f"screen.seek({cell.hop})" if cell.hop >= 0 else "") for cell in shown),
    ]


def _cells(marks: tuple[Mark, ...], hop: int, pitch: int, *, padded: bool) -> list[_Cell]:
    """Lay out all marks; `padded` widens a namespace's stretch until its name fits over it."""
    cells: list[_Cell] = []
    for (_, direction, node), run in groupby(marks, key=lambda mark: (mark.packet, mark.direction, mark.node)):
        stretch = list(run)
        before = marks[stretch[0].hop - 1] if stretch[0].hop > 0 else None
        parted = before is None or before.packet != stretch[0].packet or before.direction != direction
        if before is not None and parted:
            turned = before.direction != direction
            cells += [_Cell(" ", "plain"), _Cell("┊" if turned else "╎", "muted"), _Cell(" ", "plain")]
        begin = len(cells)
        for index, mark in enumerate(stretch):
            if pitch == 2:
                cells.append(_connector(mark, hop, first=index == 0))
            cells.append(_Cell(_glyph(mark), _style(mark, hop), mark.hop))
        name = f"{'→' if direction == 'request' else '←'} {node}" if parted else node
        if padded:
            cells += [_Cell(" ", "plain") for _ in range(len(name) + 1 - (len(cells) - begin))]
        _name_stretch(cells, begin, name, parted=parted)
    return cells


def _name_stretch(cells: list[_Cell], begin: int, name: str, *, parted: bool) -> None:
    """Write a namespace's name over its stretch if there is room for it; a part's first keeps its arrow at least."""
    room = len(cells) - begin
    shown = name if len(name) < room else name[:1] if parted else ""
    for offset, char in enumerate(shown):
        cells[begin + offset].above = char


def _connector(mark: Mark, hop: int, *, first: bool) -> _Cell:
    if mark.hop == hop:
        return _Cell("▶", "now")
    if first:
        return _Cell(" ", "plain")
    return _Cell("━", _way(mark)) if mark.hop < hop else _Cell("·", "muted")


def _way(mark: Mark) -> StyleName:
    return "request" if mark.direction == "request" else "reply"


def _glyph(mark: Mark) -> str:
    return "!" if mark.disagreement else EVIDENCE[mark.evidence]


def _style(mark: Mark, hop: int) -> StyleName:
    if mark.hop == hop:
        return "cursor"
    if mark.disagreement:
        return "wrong"
    return _way(mark) if mark.hop < hop else "muted"


def _window(cells: list[_Cell], hop: int, width: int) -> int:
    if len(cells) <= width:
        return 0
    at = next((i for i, cell in enumerate(cells) if cell.hop == hop), 0)
    return min(max(at - width // 2, 0), len(cells) - width)
