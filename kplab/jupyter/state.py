"""A journey as the widget's front-end gets it: every frame of its `Timeline`, each part of a frame sent once.

`widget.js` holds the other half: it picks a frame by time, puts its parts together, and paints. Nothing is decided
there. All that is shown comes out of `Timeline.at`, asked once between every two `Timeline.changes`.

The document, one list for each kind of part, parts named by their place in it:

- `about`: packet, sender, mode, back-end, outcome, findings; `duration`, and `stops` where stepping by rule halts.
- `beats`: for each hop its start, its rest, and 1 if it has rules.
- `board`: stations [name, role, addresses, hooks], edges [left, right, via], others.
- `marks`: [label, node, kind, direction, packet, evidence, 1 where model and kernel disagree].
- `banners`: [kind, text].
- `lines`: a walk's lines [mark, chain, depth, number, rule, note, tried, evidence, full, count, disagreement].
- `walks`: [node, hook, table, path, like, kept, added, tried, 1 if running]: the first `kept` lines of walk `like`
  (-1: of none), and then the lines `added`.
- `headers`: lists of [name, value, old value or null].
- `lanes`: [origin, target, direction]; `passed`: [station, hook, direction].
- `maps`: [station, hook, toward, progress at the hop's start, at its end, direction, lanes, passed, lanes ahead].
- `entries`: conntrack [node, text, original, reply, state, mark, id]; `tables`: lists of entries.
- `asked`: lookups and IPVS's choices, as `Asked` has them, field by field.
- `hops`: [map, headers, table, asked, sentence, next, evidence, where].
- `frames`: [time from which it is shown, hop, walk]; -1 is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec

from kplab.scene.frame import Board, CtLine, Frame, HeaderField, Lane, MapState, Mark, Walk, WalkLine
from kplab.scene.timeline import Timeline

Part = list[Any]
"""A part of a frame, as it goes into JSON."""
Document = dict[str, Any]


class Pool:
    """Parts of one kind, each kept once."""

    def __init__(self) -> None:
        self.parts: list[Part | Document] = []
        self._known: dict[bytes, int] = {}

    def add(self, part: Part | Document) -> int:
        """Return the part's place in the pool; a part that is there already is not kept again."""
        key = msgspec.json.encode(part)
        place = self._known.setdefault(key, len(self.parts))
        if place == len(self.parts):
            self.parts.append(part)
        return place


class StatePacker:
    """Takes a timeline's frames apart; `document` is what the front-end gets, `folds` what it may ask for."""

    def __init__(self, timeline: Timeline) -> None:
        """Go through all of the timeline's frames; the cost is that of painting each once."""
        self.folds: dict[int, WalkLine] = {}
        """Folded lines of a walk by their place in `lines`; their rules stay here until they are asked for."""
        self._lines, self._headers, self._lanes, self._passed = Pool(), Pool(), Pool(), Pool()
        self._maps, self._entries, self._tables, self._asked = Pool(), Pool(), Pool(), Pool()
        self._walks: list[Part] = []
        self._walk_lines: list[int] = []
        self._hops: list[Part] = []
        frames = self._pack_frames(timeline)
        self.document = _fixed_parts(timeline) | {
            "lines": self._lines.parts, "walks": self._walks, "headers": self._headers.parts,
            "lanes": self._lanes.parts, "passed": self._passed.parts, "maps": self._maps.parts,
            "entries": self._entries.parts, "tables": self._tables.parts, "asked": self._asked.parts,
            "hops": self._hops, "frames": frames,
        }  # fmt: skip

    def encode(self) -> str:
        """Return the document as JSON."""
        return msgspec.json.encode(self.document).decode()

    def _pack_frames(self, timeline: Timeline) -> list[Part]:
        frames: list[Part] = []
        shown: Walk | None = None
        moments = timeline.changes
        for begin, end in pairwise((*moments, max(timeline.duration, moments[-1]))):
            frame = timeline.at((begin + end) / 2)
            if max(frame.hop, 0) >= len(self._hops):
                self._hops.append(self._pack_hop(timeline, frame))
            if frame.walk is not None and (shown is None or frame.walk != shown):
                self._pack_walk(frame.walk)
            shown = frame.walk
            frames.append([begin, frame.hop, len(self._walks) - 1 if frame.walk is not None else -1])
        return frames

    def _pack_hop(self, timeline: Timeline, frame: Frame) -> Part:
        headers = self._headers.add([_header(field) for field in frame.headers])
        table = self._tables.add([self._entries.add(_entry(line)) for line in frame.conntrack])
        asked = self._asked.add(msgspec.to_builtins(frame.asked)) if frame.asked is not None else -1
        state = self._pack_map(timeline, frame)
        return [state, headers, table, asked, frame.sentence, frame.next, frame.evidence, frame.where]

    def _pack_map(self, timeline: Timeline, frame: Frame) -> int:
        state, place = frame.map, frame.map.place
        ends = (0.0, 0.0)
        if place is not None and place.toward is not None:
            beats = timeline.beats[frame.hop]
            ends = (_progress(timeline.at(beats.start)), _extrapolated(timeline, beats.start, beats.end))
        where = [place.station, place.hook, place.toward] if place is not None else [None, None, None]
        return self._maps.add([*where, *ends, state.direction, *self._ways(state)])

    def _ways(self, state: MapState) -> list[list[int]]:
        return [
            [self._lanes.add(_lane(lane)) for lane in state.lanes],
            [self._passed.add(list(one)) for one in state.passed],
            [self._lanes.add(_lane(lane)) for lane in state.ahead],
        ]

    def _pack_walk(self, walk: Walk) -> None:
        lines = [self._pack_line(line) for line in walk.lines]
        kept = _common(self._walk_lines, lines)
        like = len(self._walks) - 1 if kept else -1
        self._walk_lines = lines
        self._walks.append(
            [walk.node, walk.hook, walk.table, walk.path, like, kept, lines[kept:], walk.tried, int(walk.running)]
        )

    def _pack_line(self, line: WalkLine) -> int:
        place = self._lines.add(
            [
                line.mark, line.chain, line.depth, line.number, line.rule, line.note, line.tried, line.evidence,
                line.full, line.count, line.disagreement,
            ]
        )  # fmt: skip
        if line.mark == "fold":
            self.folds[place] = line
        return place


def _fixed_parts(timeline: Timeline) -> Document:
    journey = timeline.journey
    return {
        "about": {
            "packet": journey.packet, "sender": journey.sender, "mode": journey.mode, "backend": journey.backend,
            "outcome": journey.outcome, "findings": journey.findings,
        },
        "duration": timeline.duration,
        "stops": sorted({stop for beats in timeline.beats for stop in beats.stops}),
        "beats": [[beats.start, beats.rest, int(bool(beats.lines))] for beats in timeline.beats],
        "board": _board(timeline.board),
        "marks": [_mark(mark) for mark in timeline.marks],
        "banners": [[banner.kind, banner.text] for banner in timeline.banners],
    }  # fmt: skip


def _board(board: Board) -> Document:
    return {
        "stations": [[one.name, one.role, one.addresses, one.hooks] for one in board.stations],
        "edges": [[edge.left, edge.right, edge.via] for edge in board.edges],
        "others": board.others,
    }


def _mark(mark: Mark) -> Part:
    return [mark.label, mark.node, mark.kind, mark.direction, mark.packet, mark.evidence, int(mark.disagreement)]


def _header(field: HeaderField) -> Part:
    return [field.name, field.value, field.was]


def _entry(line: CtLine) -> Part:
    return [line.node, line.text, line.original, line.reply, line.state, line.mark, line.id]


def _lane(lane: Lane) -> Part:
    return [lane.origin, lane.target, lane.direction]


def _progress(frame: Frame) -> float:
    return frame.map.place.progress if frame.map.place is not None else 0.0


def _extrapolated(timeline: Timeline, start: float, end: float) -> float:
    """Return the progress at a hop's end, where the next hop has begun: a packet moves evenly."""
    begin, half = _progress(timeline.at(start)), _progress(timeline.at((start + end) / 2))
    return round(2 * half - begin, 6)


def _common(before: Sequence[int], now: Sequence[int]) -> int:
    """Return how many lines at the beginning two walks share."""
    for place, (one, other) in enumerate(zip(before, now, strict=False)):
        if one != other:
            return place
    return min(len(before), len(now))
