"""Which of nf_tables' own rules a packet tried in one base chain, and why each did not match: `walk`'s counterpart.

What the kernel's trace says, seen on Linux 6.18 (nft_do_chain in net/netfilter/nf_tables_core.c):

* A rule that ends in a map (`vmap @service-ips`) is reported with its handle and the verdict that the element gave,
  "goto service-…"; neither key nor element is named. Without an element the rule is passed over in silence, like any
  that does not match. So the element is looked up again in the map as it was listed, and its verdict compared.
* `dnat to numgen random mod 3 map {…}` is reported as "accept": which number was drawn shows in what the next hook saw.
  `numgen … vmap {…}` is reported with the verdict, which tells the number where each is given once.
* masquerade is "accept" too; `reject` is "drop", after all messages of the ICMP error or RST that it sends.
* A rule that only sets a mark or updates a set is "continue", with the mark as it is afterwards.
* The end of a chain is a message without handle, in base chains as well, followed there by one of the policy. The
  end of a chain that was left by `goto` is none; a chain entered by `goto` ends where its caller was called from.
* A base chain whose rule accepts ends there: no message of a policy. Other base chains of the hook still follow.
"""

from __future__ import annotations

from collections.abc import Sequence

from kplab.model.journey import Evidence, Lookup
from kplab.model.nft import NftChain, NftRule, NftTable
from kplab.trace.match_outcome import Met, Unknowable, Unmet
from kplab.trace.matching import Probe
from kplab.trace.nft_try import try_nft_rule
from kplab.trace.nft_types import Choice, NftSegment, NftSkipped, NftWalk, Tried
from kplab.trace.walk_base import Visit, WalkBase, skip_reason
from kplab.trace.walk_effects import FINAL
from kplab.trace.walk_types import Hit, HitKind

_LONG = 60
"""More of a verdict's name than this tells nothing."""


def walk_nft(table: NftTable, base_chain: str, probe: Probe, hits: Sequence[Hit]) -> NftWalk:
    """Walk a packet through `base_chain`, led by the trace's messages of this one visit, in the kernel's order.

    A base chain that the table does not hold gives a walk without segments, which says so in `unfinished`.
    """
    base = table.chains.get(base_chain)
    if base is None:
        return NftWalk((), None, probe.mark, unfinished=f"table {table.name} holds no chain {base_chain}")
    walker = _Walker(table, base, probe)
    for index, hit in enumerate(hits):
        if walker.verdict is not None:
            walker.differ(hit.chain, hit.number, f"the packet has left {base_chain}", f"went on in {hit.chain}")
            break
        walker.follow(index, hit)
    return walker.finish()


class _Walker(WalkBase[NftChain, NftSegment]):
    """Where the walk stands, and the moves that the trace's messages make."""

    def __init__(self, table: NftTable, base: NftChain, probe: Probe) -> None:
        super().__init__(table.chains, base, probe, NftChain)
        self.table = table

    def finish(self) -> NftWalk:
        """Return the walk; what was found after the last segment goes with it."""
        self.finish_differences()
        unfinished = None
        if self.verdict is None:
            where = self.visits[-1].chain.name if self.visits else self.base.name
            unfinished = f"the trace stops in {where}, before a verdict"
        return NftWalk(tuple(self.segments), self.verdict, self.probe.mark, unfinished, tuple(self.disagreements))

    def follow(self, index: int, hit: Hit) -> None:
        """Take one message of the trace."""
        if hit.kind == "policy":
            self._policy(index, hit)
        elif not self._enter(hit):
            self._unknown(index, hit)
        elif hit.kind == "return" and hit.handle is None:
            self._end("seen", index)
        else:
            chain = self.visits[-1].chain
            known = hit.number is not None and hit.number <= len(chain.rules)
            if known and hit.number is not None:
                self._rule(index, hit, chain.rules[hit.number - 1])
            else:
                self.differ(hit.chain, None, "it holds no such rule", f"matched it ({hit.verdict or 'no verdict'})")
                self._unknown(index, hit)
        if hit.mark is not None and (hit.mark != self.probe.mark or not self.probe.mark_known):
            self._take_mark(hit, hit.mark)

    def _enter(self, hit: Hit) -> bool:
        """Make the message's chain the current one: chains left without a message have ended."""
        names = [visit.chain.name for visit in self.visits]
        if hit.chain in names:
            while self.visits[-1].chain.name != hit.chain:
                self._end("rebuilt", None)
            return True
        here = names[-1] if names else self.base.name
        self.differ(hit.chain, hit.number, f"the packet is in {here}", f"reports chain {hit.chain}")
        chain = self.table.chains.get(hit.chain)
        if chain is None:
            return False
        self.enter(chain)
        return True

    def _rule(self, index: int, hit: Hit, rule: NftRule) -> None:
        visit = self.visits[-1]
        if rule.number < visit.at:
            self.differ(hit.chain, rule.number, f"rule {visit.at} is next", "matched this rule")
            visit.at = rule.number
        skipped = self._skip_to(rule.number)
        tried = try_nft_rule(rule, self.table.sets, self.probe)
        if isinstance(tried.outcome, Unmet):
            self.differ(hit.chain, rule.number, f"it does not match ({tried.outcome.reason})", "matched it")
        verdict = self._verdict(hit, rule, tried)
        before, self.probe = self.probe.mark, tried.probe
        visit.at = rule.number + 1
        lookup = tried.lookups[-1] if tried.lookups else None
        self._add(visit, skipped, rule, "rule", verdict, before, "seen", index, lookup, tried.choice)
        self.lead(verdict)

    def _verdict(self, hit: Hit, rule: NftRule, tried: Tried) -> str:
        """Return the matching rule's verdict; the kernel's, where the model cannot know or says otherwise."""
        ours, said = tried.verdict, hit.verdict
        if ours == "reject" and said in ("drop", "reject", ""):
            return "reject"
        if not said:
            return ours or "continue"
        if ours is None and tried.choice is not None and said not in {way for _, way in tried.choice.ways}:
            self.differ(hit.chain, rule.number, "its draw does not lead there", f"says {said[:_LONG]}")
        elif ours is not None and isinstance(tried.outcome, Met | Unknowable) and ours != said:
            self.differ(hit.chain, rule.number, f"its verdict is {ours[:_LONG]}", f"says {said[:_LONG]}")
        return said

    def _unknown(self, index: int, hit: Hit) -> None:
        """Take a match of a rule, or in a chain, that the table did not hold when it was read."""
        depth = self.visits[-1].depth if self.visits else 0
        verdict = hit.verdict or "continue"
        at = Visit(self.chain_named(hit.chain), depth)
        self._add(at, (), None, "rule", verdict, self.probe.mark, "seen", index)
        if verdict in FINAL:
            self.verdict = verdict

    def _end(self, evidence: Evidence, hit: int | None) -> None:
        """Reach the end of the current chain; a base chain's policy has a message of its own."""
        visit = self.visits[-1]
        if visit.depth == 0:
            return
        skipped = self._rest(visit)
        self._add(visit, skipped, None, "return", "return", self.probe.mark, evidence, hit, _asked(skipped))
        self.visits.pop()

    def _policy(self, index: int, hit: Hit) -> None:
        while self.visits and self.visits[-1].depth > 0:
            self._end("rebuilt", None)
        ours = self.base.policy or "accept"
        said = hit.verdict or ours
        if said != ours:
            self.differ(self.base.name, None, f"its policy is {ours}", f"applied policy {said}")
        visit = self.visits[-1] if self.visits else Visit(self.base, 0)
        skipped = self._rest(visit) if self.visits else ()
        self._add(visit, skipped, None, "policy", f"policy {said}", self.probe.mark, "seen", index, _asked(skipped))
        self.visits.clear()
        self.verdict = f"policy {said}"

    def _rest(self, visit: Visit[NftChain]) -> tuple[NftSkipped, ...]:
        return self._skip_to(len(visit.chain.rules) + 1)

    def _skip_to(self, number: int) -> tuple[NftSkipped, ...]:
        """Pass over the current chain's rules before `number`, as the trace did, and check each against it."""
        visit = self.visits[-1]
        passed = []
        for rule in visit.chain.rules[visit.at - 1 : number - 1]:
            tried = try_nft_rule(rule, self.table.sets, self.probe)
            if isinstance(tried.outcome, Met):
                self.differ(visit.chain.name, rule.number, "it matches", "passed it over")
            else:
                self.probe = tried.probe
            passed.append(NftSkipped(rule, skip_reason(tried.outcome), tried.lookups[-1] if tried.lookups else None))
        visit.at = number
        return tuple(passed)

    def _take_mark(self, hit: Hit, mark: int) -> None:
        """Take the mark that the kernel reports."""
        if self.probe.mark_known:
            self.differ(hit.chain, hit.number, f"the mark is {self.probe.mark:#x}", f"says {mark:#x}")
        self.take_mark(mark)

    def _add(
        self, visit: Visit[NftChain], skipped: tuple[NftSkipped, ...], rule: NftRule | None, kind: HitKind,
        verdict: str, before: int, evidence: Evidence, hit: int | None, lookup: Lookup | None = None,
        choice: Choice | None = None,
    ) -> None:  # fmt: skip
        self.keep(
            NftSegment(
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
                lookup=lookup,
                choice=choice,
            )
        )


def _asked(skipped: tuple[NftSkipped, ...]) -> Lookup | None:
    """Return the lookup of a chain that ended: the last one, which had no element for the packet."""
    return skipped[-1].lookup if skipped else None
