"""What a walk is made of: the kernel's messages that it follows, and the segments that it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kplab.model.journey import Evidence
from kplab.model.ruleset import Rule

HitKind = Literal["rule", "return", "policy"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One trace message of ONE visit to a base chain, its handle already resolved to a rule's number.

    * "rule": rule `number` of `chain` matched. A number of None with a `handle` is a rule that the ruleset does not
      hold; without a handle it is one that the kernel did not name (kernels before 6.4 on a RETURN).
    * "return": the end of `chain` was reached.
    * "policy": the base chain's policy decides.
    """

    chain: str
    number: int | None
    kind: HitKind
    verdict: str = ""
    """The kernel's word, "jump KUBE-SERVICES", "accept", "continue", …; "" where it says none (legacy's TRACE)."""
    mark: int | None = None
    """The packet's mark in the message: after the rule with nf_tables, before it with legacy's TRACE."""
    handle: int | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A rule that was tried and did not match, and the first thing in it that did not."""

    rule: Rule
    reason: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Model and kernel differ about a rule or a place in a chain; never hidden."""

    chain: str
    number: int | None
    """The rule's 1-based number, if it is about a rule."""
    model: str
    """What the model says."""
    kernel: str
    """What the kernel did."""

    @property
    def text(self) -> str:
        """One sentence."""
        where = self.chain if self.number is None else f"{self.chain} rule {self.number}"
        return f"{where}: the model says that {self.model}; the kernel {self.kernel}."


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of one visit of a chain: the rules passed over, and the rule that matched or the chain's end."""

    chain: str
    depth: int
    """How many jumps deep, 0 in the base chain."""
    skipped: tuple[Skipped, ...]
    """Tried and passed over since the visit's last matching rule."""
    matched: Rule | None
    """None at the end of a chain; with kind "rule", the kernel's match of a rule that the ruleset does not hold."""
    tried: int
    """Rules tried in this visit so far, the matching one included."""
    verdict: str
    """"jump X", "goto X", "accept", "drop", "reject", "return", "continue", "queue", "policy accept"."""
    kind: HitKind
    mark_before: int
    mark_after: int
    evidence: Evidence
    """seen: the kernel named it. rebuilt: it follows from what the kernel named next. modelled: no trace said it."""
    hit: int | None = None
    """Index of the trace message behind it."""
    disagreements: tuple[Disagreement, ...] = ()


@dataclass(frozen=True, slots=True)
class Continuation:
    """One way on from a place where the model cannot know: `rule` matches, or (None) the chain ends."""

    rule: Rule | None
    verdict: str
    reason: str
    """Why it is open, like "the draw: probability 0.333"; "" when it holds for certain if nothing before does."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """Where a walk without a trace had to stop."""

    chain: str
    number: int
    reason: str
    continuations: tuple[Continuation, ...]
    skipped: tuple[Skipped, ...] = ()
    """Rules tried and passed over before that place, since the visit's last matching rule."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The way of one packet through one base chain and all that it jumps to."""

    segments: tuple[Segment, ...]
    verdict: str | None
    """The verdict of the last segment: "accept", "drop", "reject", "queue", "policy accept"; None without an end."""
    mark_after: int
    undecided: Undecided | None = None
    """Set when there was no trace and the model could not know."""
    unfinished: str | None = None
    """Set when the trace stops before a verdict; says where."""
    disagreements: tuple[Disagreement, ...] = ()
    """All of them, in the walk's order; each is also with the segment that it was found at, if there is one."""
