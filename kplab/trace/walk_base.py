"""What every walk keeps, iptables' and nf_tables' own: the chains entered and not left, the segments, the differences.

A disagreement of model and kernel goes with the segment that comes next; one found after the last goes with that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from kplab.model.nft import NftChain
from kplab.model.ruleset import Chain
from kplab.trace.match_outcome import Outcome, Unknowable, Unmet
from kplab.trace.matching import Probe
from kplab.trace.nft_types import NftSegment
from kplab.trace.walk_effects import FINAL
from kplab.trace.walk_types import Disagreement, Segment

ChainT = TypeVar("ChainT", Chain, NftChain)
SegmentT = TypeVar("SegmentT", Segment, NftSegment)


@dataclass(slots=True)
class Visit(Generic[ChainT]):
    """One visit of a chain; `at` is the 1-based number of the rule to be tried next."""

    chain: ChainT
    depth: int
    at: int = 1


class WalkBase(Generic[ChainT, SegmentT]):
    """Where one walk stands."""

    def __init__(
        self, chains: Mapping[str, ChainT], base: ChainT, probe: Probe, unread: Callable[[str], ChainT]
    ) -> None:
        """`unread` makes the chain that stands for one that `chains` does not hold."""
        self.chains: Mapping[str, ChainT] = chains
        self.base: ChainT = base
        self.probe = probe
        self.visits: list[Visit[ChainT]] = [Visit(base, 0)]
        """Innermost last. Empty: the base chain was left, and its policy is next."""
        self.segments: list[SegmentT] = []
        self.verdict: str | None = None
        self.disagreements: list[Disagreement] = []
        self._unread: Callable[[str], ChainT] = unread
        self._differences: list[Disagreement] = []

    def differ(self, chain: str, number: int | None, model: str, kernel: str) -> None:
        """Note a disagreement; it goes with the next segment."""
        found = Disagreement(chain, number, model, kernel)
        self.disagreements.append(found)
        self._differences.append(found)

    def chain_named(self, name: str) -> ChainT:
        """Return a chain, or one without rules by that name."""
        return self.chains.get(name) or self._unread(name)

    def enter(self, chain: ChainT) -> None:
        """Enter a chain that no rule led to: the kernel is there, so the walk goes on from there."""
        self.visits.append(Visit(chain, self.visits[-1].depth + 1 if self.visits else 1))

    def lead(self, verdict: str) -> None:
        """Go where a matching rule's verdict leads."""
        visit = self.visits[-1]
        word, _, where = verdict.partition(" ")
        if word in FINAL:
            self.verdict = verdict
        elif word == "return":
            self.visits.pop()
        elif word in ("jump", "goto"):
            if word == "goto":
                self.visits.pop()
            self.visits.append(Visit(self.chain_named(where), visit.depth + 1))

    def keep(self, segment: SegmentT) -> None:
        """Keep the next segment, with the disagreements that it comes after."""
        self.segments.append(replace(segment, disagreements=tuple(self._differences)))
        self._differences.clear()

    def take_mark(self, mark: int) -> None:
        """Take the mark that the kernel reports; the last segment shows it."""
        self.probe = replace(self.probe, mark=mark, mark_known=True)
        if self.segments:
            self.segments[-1] = replace(self.segments[-1], mark_after=mark)

    def finish_differences(self) -> None:
        """Give disagreements that came after the last segment to that segment."""
        if self._differences and self.segments:
            last: SegmentT = self.segments[-1]
            self.segments[-1] = replace(last, disagreements=(*last.disagreements, *self._differences))
            self._differences.clear()


def skip_reason(outcome: Outcome) -> str:
    """Return why a rule was passed over, as the kernel did."""
    if isinstance(outcome, Unmet):
        return outcome.reason
    if isinstance(outcome, Unknowable):
        return f"{outcome.missed or f'{outcome.reason}; the kernel passed the rule over'} (rebuilt)"
    return "the model says that it matches; the kernel passed it over"
