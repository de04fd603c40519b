"""When each hop and each tried rule appears, in seconds at normal speed.

A hop that does something lasts 0.8 s, a tried rule 0.15 s. Rules after the third skipped one share one line and one
short stretch of time, whatever their number. What leaves the packet as it was passes quicker: the way between two
boxes, a hook that it enters, and chains outside nat, most of whose rules say only "go on".
"""

from __future__ import annotations

from dataclasses import dataclass

from kplab.model.journey import Hop

HOP = 0.8
MOVE = 0.3
"""A link crossed, a route found: nothing is decided on the way, but the eye must follow."""
PASS = 0.15
"""A hop that leaves the packet as it was and holds nothing to read."""
PASSED_RULE = 0.03
"""A tried rule of such a hop."""
RULE = 0.15
FOLD = 0.6
COUNTING = 0.48
"""How long a fold's count climbs, out of its FOLD seconds."""
HOLD = 0.4
"""How long the end of a hop with rules stays before the next begins."""
SHOWN_SKIPS = 3


@dataclass(frozen=True, slots=True)
class Beats:
    """One hop's part of the play."""

    start: float
    lines: tuple[float, ...]
    """When each of its walk lines appears."""
    end: float
    fold: int | None = None
    """Which of its lines is the fold, whose count climbs."""

    @property
    def stops(self) -> tuple[float, ...]:
        """Where stepping by rule stops; one moment for a hop without rules."""
        if not self.lines:
            return ((self.start + self.end) / 2,)
        return tuple(at + COUNTING if i == self.fold else at for i, at in enumerate(self.lines))

    @property
    def rest(self) -> float:
        """Where stepping by hop stops: all of it is shown, and a packet on a link is midway."""
        return self.stops[-1]


def is_folded(skips: int) -> bool:
    """Tell whether that many skipped rules share a line after the third."""
    return skips > SHOWN_SKIPS + 1


def ends_with_line(hop: Hop) -> bool:
    """Tell whether a hop has a line of its own in the walk: the rule that matched, the lookup, or the chain's end."""
    return hop.rule is not None or hop.kind == "lookup" or (hop.kind == "chain" and hop.verdict is not None)


def is_passed(hop: Hop) -> bool:
    """Tell whether a hop leaves the packet as it was, in a place where nothing was to be decided about it.

    Such are a hook that is entered, a conntrack entry that is only used, a chain outside nat, and a short one of nat
    in which no rule matched but one that returns. What model and kernel disagree about is never passed over.
    """
    if hop.disagreement or hop.before != hop.after or hop.lookup is not None or hop.ipvs is not None:
        return False
    if hop.kind in {"hook", "conntrack"}:
        return hop.conntrack is None or hop.conntrack.change in {"used", "update"}
    if hop.kind not in {"chain", "rule"} or _ends_the_packet(hop.verdict):
        return False
    decided = hop.rule is not None and hop.verdict != "return"
    return hop.table != "nat" or not (decided or is_folded(len(hop.skipped)))


def _ends_the_packet(verdict: str | None) -> bool:
    return verdict is not None and verdict.removeprefix("policy ") in {"drop", "reject"}


def schedule(hops: tuple[Hop, ...], repeated: frozenset[int]) -> tuple[Beats, ...]:
    """Return every hop's times; `repeated` are hops (0-based) whose rule is already the line before."""
    beats, now = [], 0.0
    for index, hop in enumerate(hops):
        one = _beats(hop, now, repeats=index in repeated)
        beats.append(one)
        now = one.end
    return tuple(beats)


def _beats(hop: Hop, start: float, *, repeats: bool) -> Beats:
    skips = len(hop.skipped)
    folded = is_folded(skips)
    passed = is_passed(hop)
    rule = PASSED_RULE if passed else RULE
    durations = [rule] * (SHOWN_SKIPS if folded else skips) + ([rule if passed else FOLD] if folded else [])
    if ends_with_line(hop) and not repeats:
        durations.append(rule)
    if not durations:
        return Beats(start, (), round(start + _length(hop, passed=passed), 6))
    lines, at = [], start
    for duration in durations:
        lines.append(round(at, 6))
        at += duration
    end = max(at, start + PASS) if passed else at + HOLD
    return Beats(start, tuple(lines), round(end, 6), SHOWN_SKIPS if folded and not passed else None)


def _length(hop: Hop, *, passed: bool) -> float:
    if passed:
        return PASS
    return MOVE if hop.kind in {"link", "route"} else HOP
