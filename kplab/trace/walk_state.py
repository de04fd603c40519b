"""Where a walk stands: the chains entered and not left, the packet's mark, and the segments so far.

A walk is driven from outside, by the kernel's messages or by the model; here are the moves that both are made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kplab.model.journey import Evidence
from kplab.model.ruleset import Chain, Rule
from kplab.trace import walk_effects
from kplab.trace.matching import Met, Outcome, Probe, Unknowable, Unmet, try_rule
from kplab.trace.walk_types import Disagreement, HitKind, Segment, Skipped


@dataclass(slots=True)
class Visit:
    """One visit of a chain; `at` is the 1-based number of the rule to be tried next."""

    chain: Chain
    depth: int
    at: int = 1


class WalkState:
    """The state of one walk."""

    def __init__(self, chains: Mapping[str, Chain], base: Chain, probe: Probe) -> None:
        self.chains = dict(chains)
        self.base = base
        self.probe = probe
        self.visits = [Visit(base, 0)]
        """Innermost last. Empty: the base chain was left, and its policy is next."""
        self.segments: list[Segment] = []
        self.verdict: str | None = None
        self.disagreements: list[Disagreement] = []
        self._differences: list[Disagreement] = []

    def differ(self, chain: str, number: int | None, model: str, kernel: str) -> None:
        """Note a disagreement; it goes with the next segment."""
        found = Disagreement(chain, number, model, kernel)
        self.disagreements.append(found)
        self._differences.append(found)

    def skip_to(self, number: int) -> tuple[Skipped, ...]:
        """Pass over the current chain's rules before `number`, as the trace did, and check each against it."""
        visit = self.visits[-1]
        passed = []
        for rule in visit.chain.rules[visit.at - 1 : number - 1]:
            outcome = try_rule(rule, self.probe)
            if isinstance(outcome, Met):
                self.differ(visit.chain.name, rule.number, "it matches", "passed it over")
            passed.append(Skipped(rule, _skip_reason(outcome), "rebuilt"))
        visit.at = number
        return tuple(passed)

    def match(
        self, rule: Rule, verdict: str, skipped: tuple[Skipped, ...], evidence: Evidence, hit: int | None = None
    ) -> None:
        """Take a matching rule of the current chain: its effect on the packet, and where its verdict leads."""
        visit = self.visits[-1]
        visit.at = rule.number + 1
        before = self.probe.mark
        self.probe = walk_effects.apply(rule.target, self.probe)
        self._add(visit, skipped, rule, "rule", verdict, before, evidence, hit)
        word, _, where = verdict.partition(" ")
        if word in walk_effects.FINAL:
            self.verdict = verdict
        elif word == "return":
            self.visits.pop()
        elif word in ("jump", "goto"):
            if word == "goto":
                self.visits.pop()
            self.visits.append(Visit(self.chains.get(where) or Chain(where, None, ()), visit.depth + 1))

    def enter(self, chain: Chain) -> None:
        """Enter a chain that no rule led to: the kernel is there, so the walk goes on from there."""
        self.visits.append(Visit(chain, self.visits[-1].depth + 1 if self.visits else 1))

    def match_unknown(self, chain: str, verdict: str, hit: int) -> None:
        """Take a match that the kernel reports of a rule, or in a chain, that the ruleset does not hold."""
        here = self.visits[-1].depth if self.visits else 0
        found = self.chains.get(chain) or Chain(chain, None, ())
        self._add(Visit(found, here), (), None, "rule", verdict, self.probe.mark, "seen", hit)
        if verdict in walk_effects.FINAL:
            self.verdict = verdict

    def end(self, evidence: Evidence, hit: int | None = None, passed: tuple[Skipped, ...] | None = None) -> None:
        """Reach the end of the current, user-defined chain; `passed` are its remaining rules if already tried."""
        visit = self.visits[-1]
        skipped = self._rest(visit, passed)
        self._add(visit, skipped, None, "return", "return", self.probe.mark, evidence, hit)
        self.visits.pop()

    def policy(
        self, verdict: str, evidence: Evidence, hit: int | None = None, passed: tuple[Skipped, ...] | None = None
    ) -> None:
        """Let the base chain's policy decide; its remaining rules were tried unless it was left before."""
        visit = self.visits[-1] if self.visits else Visit(self.base, 0)
        skipped = self._rest(visit, passed) if self.visits else ()
        self._add(visit, skipped, None, "policy", f"policy {verdict}", self.probe.mark, evidence, hit)
        self.visits.clear()
        self.verdict = f"policy {verdict}"

    def _rest(self, visit: Visit, passed: tuple[Skipped, ...] | None) -> tuple[Skipped, ...]:
        """Pass over the rest of a chain."""
        after = len(visit.chain.rules) + 1
        if passed is None:
            return self.skip_to(after)
        visit.at = after
        return passed

    def take_mark(self, mark: int) -> None:
        """Take the mark that the kernel reports; the last segment shows it."""
        self.probe = replace(self.probe, mark=mark, mark_known=True)
        if self.segments:
            self.segments[-1] = replace(self.segments[-1], mark_after=mark)

    def finish_differences(self) -> None:
        """Give disagreements that came after the last segment to that segment."""
        if self._differences and self.segments:
            last = self.segments[-1]
            self.segments[-1] = replace(last, disagreements=(*last.disagreements, *self._differences))
            self._differences.clear()

    def _add(
        self, visit: Visit, skipped: tuple[Skipped, ...], rule: Rule | None, kind: HitKind, verdict: str, before: int,
        evidence: Evidence, hit: int | None,
    ) -> None:  # fmt: skip
        segment = Segment(
            chain=visit.chain.name,
            depth=visit.depth,
            skipped=skipped,
            matched=rule,
            tried=visit.at - 1,
            verdict=verdict,
            kind=kind,
            mark_before=before,
            mark_after=self.probe.mark,
            evidence=evidence,
            hit=hit,
            disagreements=tuple(self._differences),
        )
        self.segments.append(segment)
        self._differences.clear()


def _skip_reason(outcome: Outcome) -> str:
    if isinstance(outcome, Unmet):
        return outcome.reason
    if isinstance(outcome, Unknowable):
        return f"{outcome.missed or f'{outcome.reason}; the kernel passed the rule over'} (rebuilt)"
    return "the model says that it matches; the kernel passed it over"
