"""What a walk through nf_tables' own rules is made of; the counterpart of `walk_types`."""

from __future__ import annotations

from dataclasses import dataclass

from kplab.model.journey import Evidence, Lookup
from kplab.model.nft import NftRule
from kplab.trace.match_outcome import Outcome
from kplab.trace.matching import Probe
from kplab.trace.walk_types import Disagreement, HitKind


@dataclass(frozen=True, slots=True)
class Choice:
    """A draw of `numgen`, whose number only the kernel knows: what each number stands for."""

    mod: int
    ways: tuple[tuple[int, str], ...]
    """(number, "goto endpoint-…" or "10.244.1.10:8080")."""

    def number_of(self, way: str) -> int | None:
        """Return the number that must have been drawn for this outcome; None when none or several lead to it."""
        numbers = [number for number, each in self.ways if each == way]
        return numbers[0] if len(numbers) == 1 else None


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of trying one rule."""

    outcome: Outcome
    probe: Probe
    """The packet afterwards: a rule may set a mark and still not match in the end."""
    verdict: str | None = None
    """"jump X", "goto X", "accept", "drop", "return", "continue", "reject"; None where the model cannot know."""
    lookups: tuple[Lookup, ...] = ()
    choice: Choice | None = None


@dataclass(frozen=True, slots=True)
class NftSkipped:
    """A rule that was tried and did not match, and the first thing in it that did not."""

    rule: NftRule
    reason: str
    lookup: Lookup | None = None
    """The map or set that had no element for the packet."""


@dataclass(frozen=True, slots=True)
class NftSegment:
    """A part of one visit of a chain: the rules passed over, and the rule that matched or the chain's end."""

    chain: str
    depth: int
    skipped: tuple[NftSkipped, ...]
    matched: NftRule | None
    tried: int
    verdict: str
    kind: HitKind
    mark_before: int
    mark_after: int
    evidence: Evidence
    hit: int | None = None
    lookup: Lookup | None = None
    """The last map or set that the matching rule asked."""
    choice: Choice | None = None
    disagreements: tuple[Disagreement, ...] = ()


@dataclass(frozen=True, slots=True)
class NftWalk:
    """The way of one packet through one base chain and all that it jumps to."""

    segments: tuple[NftSegment, ...]
    verdict: str | None
    mark_after: int
    unfinished: str | None = None
    disagreements: tuple[Disagreement, ...] = ()
