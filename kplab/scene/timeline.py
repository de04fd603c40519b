"""A journey as a play: every moment `t` has one `Frame`, the same one each time it is asked for.

`t` is in seconds at normal speed. Faces choose `t`; nothing here knows a clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from functools import lru_cache

from kplab.model.journey import Flow, Hop, Journey
from kplab.model.topology import Topology
from kplab.scene.board import find_moves, idle_board, make_board, map_state, place_at
from kplab.scene.entries import entries_at
from kplab.scene.frame import Asked, Banner, Board, CtLine, Frame, HeaderField, MapState, Mark, Walk
from kplab.scene.lookups import asked_at, asks
from kplab.scene.schedule import COUNTING, Beats, schedule
from kplab.scene.walks import fold_sections, repeated_rules, walk_at

_CLOSE = 1e-4
"""Two moments nearer than this are one."""
_COUNT_STEPS = 8
"""A fold's count climbs in this many steps."""


class Timeline:
    """A journey laid out in time."""

    def __init__(self, journey: Journey, topology: Topology) -> None:
        """Lay out `journey`; a journey without hops has a duration of 0 and one frame."""
        self.journey = journey
        self.board = make_board(journey, topology) if journey.hops else idle_board(topology, journey.sender)
        self._hops = journey.hops
        repeated = repeated_rules(self._hops)
        self._beats = schedule(self._hops, repeated)
        self._starts = [beats.start for beats in self._beats]
        self._stops = sorted({stop for beats in self._beats for stop in beats.stops})
        self._rests = [beats.rest for beats in self._beats]
        self._moves = find_moves(self._hops, topology)
        self._sections, self._spans = fold_sections(self._hops, repeated)
        self.marks = tuple(_mark(hop, index) for index, hop in enumerate(self._hops))
        self.banners = banners(journey)
        self.has_lookups = any(asks(hop) for hop in self._hops)
        self._cached_map = lru_cache(maxsize=256)(self._map_state)
        self._cached_walk = lru_cache(maxsize=64)(self._walk)
        self._cached_entries = lru_cache(maxsize=256)(self._entries)
        self._cached_asked = lru_cache(maxsize=256)(self._asked)
        self._cached_headers = lru_cache(maxsize=256)(self._headers)

    @property
    def duration(self) -> float:
        """Seconds from the first hop's beginning to the last one's end."""
        return self._beats[-1].end if self._beats else 0.0

    @property
    def beats(self) -> tuple[Beats, ...]:
        """Every hop's times, in order."""
        return self._beats

    @property
    def changes(self) -> tuple[float, ...]:
        """Every moment at which more than a packet's place between two boxes changes; the first one is 0.

        From one to the next `at` returns the same frame, but for `t` and for the progress of a packet under way.
        """
        moments = {0.0}
        for beats in self._beats:
            moments.add(beats.start)
            moments.update(max(at - _CLOSE, beats.start) for at in beats.lines)
            if beats.fold is not None:
                begin, step = beats.lines[beats.fold] - _CLOSE, COUNTING / _COUNT_STEPS
                moments.update(begin + step * count for count in range(1, _COUNT_STEPS + 1))
        return tuple(sorted(moments))

    def hop_at(self, t: float) -> int:
        """Return which hop (0-based) is on at `t`; -1 for a journey without hops."""
        return min(max(bisect_right(self._starts, t) - 1, 0), len(self._hops) - 1)

    def start_of(self, hop: int) -> float:
        """Return when a hop (0-based) begins."""
        return self._starts[min(max(hop, 0), len(self._starts) - 1)] if self._starts else 0.0

    def rest_of(self, hop: int) -> float:
        """Return the moment at which all of a hop (0-based) is shown."""
        return self._rests[min(max(hop, 0), len(self._rests) - 1)] if self._rests else 0.0

    def next_hop(self, t: float) -> float:
        """Return the rest of this hop if it has rules yet to be shown, else of the next; `t` itself at the end."""
        index = self.hop_at(t)
        if index < 0 or self._rules_left(index, t):
            return self.rest_of(index)
        return max(t, self.rest_of(index + 1))

    def previous_hop(self, t: float) -> float:
        """Return the rest of the hop before, or the first one's."""
        return self.rest_of(self.hop_at(t) - 1)

    def next_rule(self, t: float) -> float:
        """Return when the next rule (or, where there is none, the next hop) is shown; `t` itself at the end."""
        index = self.hop_at(t)
        if index >= 0 and not self._rules_left(index, t):
            t = max(t, self._beats[index].rest)
        return _after(self._stops, t)

    def previous_rule(self, t: float) -> float:
        """Return when the rule before was shown."""
        return _before(self._stops, t)

    def _rules_left(self, index: int, t: float) -> bool:
        beats = self._beats[index]
        return bool(beats.lines) and t < beats.rest - _CLOSE

    def settled(self, t: float) -> float:
        """Return the last moment at or before `t` at which nothing moves: what reduced motion shows for `t`."""
        index = bisect_right(self._stops, t + _CLOSE) - 1
        return self._stops[max(index, 0)] if self._stops else 0.0

    def at(self, t: float) -> Frame:
        """Return the frame of moment `t`, which may lie before 0 or after the end."""
        if not self._hops:
            return replace(idle_frame(self.board), banners=self.banners, sentence=self.journey.outcome)
        t = min(max(t, 0.0), self.duration)
        index = self.hop_at(t)
        hop, beats = self._hops[index], self._beats[index]
        done = min(1.0, (t - beats.start) / max(beats.end - beats.start, _CLOSE))
        state = self._cached_map(index)
        if self._moves[index].toward is not None:
            state = replace(state, place=place_at(self._moves[index], done))
        return Frame(
            t=t,
            hop=index,
            board=self.board,
            map=state,
            headers=self._cached_headers(index),
            walk=self._walk_at(index, t),
            conntrack=self._cached_entries(index),
            marks=self.marks,
            sentence=hop.text,
            next=self._next(index),
            evidence=hop.evidence,
            banners=self.banners,
            asked=self._cached_asked(index) if self.has_lookups else None,
            where=_where(hop),
        )

    def _walk_at(self, index: int, t: float) -> Walk | None:
        beats = self._beats[index]
        shown = bisect_right(beats.lines, t + _CLOSE)
        counted = _COUNT_STEPS
        if beats.fold is not None and shown == beats.fold + 1:
            share = min(1.0, (t - beats.lines[beats.fold] + _CLOSE) / COUNTING)
            counted = int(share * _COUNT_STEPS)
        return self._cached_walk(index, shown, counted)

    def _walk(self, index: int, shown: int, counted: int) -> Walk | None:
        span = self._spans[index]
        if span.section < 0:
            return None
        section = self._sections[span.section]
        return walk_at(section, span.first + shown, running=span.inside, fold_done=counted / _COUNT_STEPS)

    def _map_state(self, index: int) -> MapState:
        return map_state(self._hops, self._moves, index)

    def _entries(self, index: int) -> tuple[CtLine, ...]:
        return entries_at(self._hops, index)

    def _asked(self, index: int) -> Asked | None:
        return asked_at(self._hops, index)

    def _headers(self, index: int) -> tuple[HeaderField, ...]:
        return header_fields(self._hops[index].before, self._hops[index].after)

    def _next(self, index: int) -> str:
        if index + 1 >= len(self._hops):
            return f"the end: {self.journey.outcome}" if self.journey.outcome else "the end"
        hop = self._hops[index + 1]
        turned = hop.direction != self._hops[index].direction
        return f"{'the reply: ' if turned and hop.direction == 'reply' else ''}{label_of(hop)} in {hop.node}"


def _after(moments: list[float], t: float) -> float:
    index = bisect_right(moments, t + _CLOSE)
    return moments[index] if index < len(moments) else t


def _before(moments: list[float], t: float) -> float:
    index = bisect_left(moments, t - _CLOSE) - 1
    return moments[max(index, 0)] if moments else 0.0


def header_fields(before: Flow, after: Flow) -> tuple[HeaderField, ...]:
    """Return source, destination, protocol and mark, each with its old value where the two differ."""
    pairs = (
        ("src", before.src, after.src),
        ("dst", before.dst, after.dst),
        ("proto", before.proto, after.proto),
        ("mark", f"{before.mark:#x}", f"{after.mark:#x}"),
    )
    return tuple(HeaderField(name, new, old if old != new else None) for name, old, new in pairs)


def label_of(hop: Hop) -> str:
    """Return a hop's name of one or two words: "PREROUTING", "KUBE-SERVICES rule 8", "DNAT", "link to node-a"."""
    if hop.kind == "link":
        return f"link to {hop.peer}" if hop.peer else "link"
    if hop.kind == "hook" and hop.hook:
        return hop.hook
    if hop.kind == "rule" and hop.chain:
        return f"{hop.chain} rule {hop.rule_number}" if hop.rule_number else hop.chain
    if hop.kind == "chain" and hop.chain:
        return hop.chain
    if hop.kind == "lookup" and hop.lookup is not None:
        return f"lookup in {hop.lookup.map}"
    return {"IPVS": "IPVS's choice", "socket": "socket call", "proxy": "kube-proxy"}.get(hop.kind, hop.kind)


def _where(hop: Hop) -> str:
    parts = (hop.node, hop.interface if hop.kind == "link" else hop.hook, hop.table, hop.chain)
    return " · ".join(dict.fromkeys(part for part in parts if part))


def _mark(hop: Hop, index: int) -> Mark:
    return Mark(
        index, label_of(hop), hop.node, hop.kind, hop.direction, hop.packet, hop.evidence, hop.disagreement is not None
    )  # fmt: skip


def banners(journey: Journey) -> tuple[Banner, ...]:
    """Return what must be said of this journey whatever is on the screen: disagreements, losses."""
    found = [
        Banner("disagreement", f"model and kernel disagree at hop {hop.n}: {hop.disagreement}")
        for hop in journey.hops
        if hop.disagreement
    ]
    told = {hop.disagreement for hop in journey.hops}
    found += [
        Banner("disagreement", f"model and kernel disagree: {text}")
        for text in journey.disagreements
        if not any(one and one in text for one in told)
    ]
    if journey.lost:
        count = f"{journey.lost:,} event{'s' if journey.lost != 1 else ''}" if journey.lost > 0 else "events"
        were = "was" if journey.lost == 1 else "were"
        found.append(Banner("lost", f"{count} {were} lost, this story is incomplete"))
    elif not journey.complete:
        found.append(
            Banner("incomplete", f"this story is incomplete: {journey.incomplete_because or 'no reason known'}")
        )
    return tuple(found)


def idle_frame(board: Board) -> Frame:
    """Return the frame of a lab in which nothing was sent yet; `board` comes from `idle_board`."""
    return Frame(0.0, -1, board, MapState(None, "request"), (), None, (), (), "", "", None, ())
