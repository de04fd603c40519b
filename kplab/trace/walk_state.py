"""Where a walk stands: the chains entered and not left, the packet's mark, and the segments so far.

A walk is driven from outside, by the kernel's messages or by the model; here are the moves that both are made of.
"""

from __future__ import annotations

from collections.abc import Mapping

from kplab.model.journey import Evidence
from kplab.model.ruleset import Chain, Rule
from kplab.trace import walk_effects
from kplab.trace.matching import Met, Probe, try_rule
from kplab.trace.walk_base import Visit, WalkBase, skip_reason
from kplab.trace.walk_types import HitKind, Segment, Skipped


class WalkState(WalkBase[Chain, Segment]):
    """The state of one walk."""

    def __init__(self, chains: Mapping[str, Chain], base: Chain, probe: Probe) -> None:
        super().__init__(chains, base, probe, lambda name: Chain(name, None, ()))

    def skip_to(self, number: int) -> tuple[Skipped, ...]:
        """Pass over the current chain's rules before `number`, as the trace did, and check each against it."""
        visit = self.visits[-1]
        passed = []
        for rule in visit.chain.rules[visit.at - 1 : number - 1]:
            outcome = try_rule(rule, self.probe)
            if isinstance(outcome, Met):
                self.differ(visit.chain.name, rule.number, "it matches", "passed it over")
            passed.append(Skipped(rule, skip_reason(outcome), "rebuilt"))
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
        self.lead(verdict)

    def match_unknown(self, chain: str, verdict: str, hit: int) -> None:
        """Take a match that the kernel reports of a rule, or in a chain, that the ruleset does not hold."""
        here = self.visits[-1].depth if self.visits else 0
        self._add(Visit(self.chain_named(chain), here), (), None, "rule", verdict, self.probe.mark, "seen", hit)
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

    def _rest(self, visit: Visit[Chain], passed: tuple[Skipped, ...] | None) -> tuple[Skipped, ...]:
        """Pass over the rest of a chain."""
        after = len(visit.chain.rules) + 1
        if passed is None:
            return self.skip_to(after)
        visit.at = after
        return passed

    def _add(
        self, visit: Visit[Chain], skipped: tuple[Skipped, ...], rule: Rule | None, kind: HitKind, verdict: str,
        before: int, evidence: Evidence, hit: int | None,
    ) -> None:  # fmt: skip
        self.keep(
            Segment(
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
            )
        )
