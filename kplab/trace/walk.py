"""Which rules a packet tried in one base chain and all that it jumps to, and why each did not match.

The kernel's trace names the rules that matched; `walk` follows it, rebuilds the rules tried between two of them,
and checks itself: a rule that was passed over must not match in the model, a rule that was traced must. What the
kernels say, seen on Linux 6.18:

* nf_tables (`nft monitor trace`, net/netfilter/nf_tables_core.c): one message a matching rule, with its handle and
  "continue", "jump X", "goto X", "accept", "drop" or "return". A rule without a verdict, MARK and LOG say "continue";
  REJECT says "drop", and says it after all messages of the ICMP error or RST that it sends. The end of a chain is
  a message of type "rule" with "continue" and no handle, in base chains too; older kernels use type "return". A
  base chain's policy is a message of its own, after that end or after a RETURN. There is no message for
  the end of a chain left by RETURN, nor for a chain left by goto.
* iptables-legacy's TRACE (net/ipv4/netfilter/ip_tables.c, trace_packet): the rule's number, before its target runs (so
  the mark is the one before), and no verdict. `return:N` and `policy:N` are the end of a chain, N its rules + 1; but an
  unconditional rule to ACCEPT, DROP or RETURN is reported by those words too, with its own number.
* In the raw table nothing is traced before the TRACE rule has matched; nf_tables then names that rule, legacy does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kplab.model.ruleset import Rule, Ruleset
from kplab.trace.matching import Met, Probe, Unknowable, Unmet, try_rule
from kplab.trace.walk_effects import is_exact, verdict_of
from kplab.trace.walk_state import WalkState
from kplab.trace.walk_types import Continuation, Disagreement, Hit, Segment, Skipped, Undecided, Walk

__all__ = ["Continuation", "Disagreement", "Hit", "Segment", "Skipped", "Undecided", "Walk", "walk"]


def walk(ruleset: Ruleset, table: str, base_chain: str, probe: Probe, hits: Sequence[Hit] | None) -> Walk:
    """Walk a packet through `base_chain`.

    `hits` are the trace's messages of this one visit, in the kernel's order; None walks by the model alone,
    up to the first place where it cannot know. A base chain that the ruleset does not hold gives a walk without
    segments, which says so in `unfinished`.
    """
    base = ruleset.chain(table, base_chain)
    if base is None:
        return Walk((), None, probe.mark, unfinished=f"the rules hold no chain {base_chain} in table {table}")
    probe = _before_conntrack(probe) if table == "raw" else probe
    state = WalkState(ruleset.tables[table].chains, base, probe)
    if hits is None:
        return _finish(state, _model(state))
    for _ in range(_untraced_steps(state, probe, hits) if table == "raw" else 0):
        _model_step(state)
    for index, hit in enumerate(hits):
        if state.verdict is not None:
            state.differ(hit.chain, hit.number, f"the packet has left {base_chain}", f"went on in {hit.chain}")
            break
        _follow(state, index, hit, before=ruleset.backend == "legacy")
    return _finish(state, None)


def _before_conntrack(probe: Probe) -> Probe:
    """Return the packet as the raw table sees it: at priority -300, conntrack's hook at -200 is still to come.

    A packet without an entry is INVALID to xt_conntrack. It keeps one over the loopback device, and a RST of
    REJECT's is born with one (nf_ct_attach in net/ipv4/netfilter/nf_reject_ipv4.c).
    """
    if probe.iif == "lo":
        return probe
    born_with_one = probe.iif is None and "R" in (probe.headers.flags or "")
    return replace(probe, ct_state=None if born_with_one else "invalid", ct_status=0, ct_mark=None)


def _finish(state: WalkState, undecided: Undecided | None) -> Walk:
    state.finish_differences()
    unfinished = None
    if state.verdict is None and undecided is None:
        where = state.visits[-1].chain.name if state.visits else state.base.name
        unfinished = f"the trace stops in {where}, before a verdict"
    return Walk(
        tuple(state.segments), state.verdict, state.probe.mark, undecided, unfinished, tuple(state.disagreements)
    )


def _follow(state: WalkState, index: int, hit: Hit, *, before: bool) -> None:
    """Take one message of the trace; `before`: its mark is the one before the rule."""
    if before and hit.mark is not None:
        _check_mark(state, hit, hit.mark)
    rule = _rule_of(state, hit)
    if hit.kind == "policy" and rule is None:
        _follow_policy(state, index, hit)
    elif not _enter(state, hit):
        state.match_unknown(hit.chain, hit.verdict or "continue", index)
    elif rule is None and (hit.kind == "return" or _is_end(state, hit)):
        if state.visits[-1].depth > 0:
            state.end("seen", index)
    elif rule is None:
        state.differ(hit.chain, hit.number, "it holds no such rule", f"matched it ({hit.verdict or 'no verdict'})")
        state.match_unknown(hit.chain, hit.verdict or "continue", index)
    else:
        _follow_rule(state, index, hit, rule)
    if not before and hit.mark is not None:
        _check_mark(state, hit, hit.mark)


def _rule_of(state: WalkState, hit: Hit) -> Rule | None:
    """Return the rule that a message is about; legacy reports some rules as returns or policies."""
    chain = state.chains.get(hit.chain)
    if chain is None:
        return None
    if hit.number is not None:
        return chain.rules[hit.number - 1] if 1 <= hit.number <= len(chain.rules) else None
    if hit.verdict == "return" and hit.handle is None:
        at = next((visit.at for visit in state.visits if visit.chain.name == hit.chain), 1)
        returns = (rule for rule in chain.rules[at - 1 :] if rule.target.name == "RETURN")
        return next((rule for rule in returns if not isinstance(try_rule(rule, state.probe), Unmet)), None)
    return None


def _is_end(state: WalkState, hit: Hit) -> bool:
    if hit.number is not None:
        return hit.number == len(state.visits[-1].chain.rules) + 1
    return hit.handle is None and hit.verdict in ("continue", "return", "")


def _enter(state: WalkState, hit: Hit) -> bool:
    """Make the message's chain the current one: chains left without a message have ended."""
    open_chains = [visit.chain.name for visit in state.visits]
    if hit.chain in open_chains:
        while state.visits[-1].chain.name != hit.chain:
            state.end("rebuilt")
        return True
    here = open_chains[-1] if open_chains else state.base.name
    state.differ(hit.chain, hit.number, f"the packet is in {here}", f"reports chain {hit.chain}")
    chain = state.chains.get(hit.chain)
    if chain is None:
        return False
    state.enter(chain)
    return True


def _follow_policy(state: WalkState, index: int, hit: Hit) -> None:
    while state.visits and state.visits[-1].depth > 0:
        state.end("rebuilt")
    ours = (state.base.policy or "ACCEPT").lower()
    said = hit.verdict or ours
    if said != ours:
        state.differ(state.base.name, None, f"its policy is {ours}", f"applied policy {said}")
    state.policy(said, "seen", index)


def _follow_rule(state: WalkState, index: int, hit: Hit, rule: Rule) -> None:
    visit = state.visits[-1]
    if rule.number < visit.at:
        state.differ(hit.chain, rule.number, f"rule {visit.at} is next", "matched this rule")
        visit.at = rule.number
    skipped = state.skip_to(rule.number)
    outcome = try_rule(rule, state.probe)
    if isinstance(outcome, Unmet):
        state.differ(hit.chain, rule.number, f"it does not match ({outcome.reason})", "matched it")
    ours = verdict_of(rule.target, state.chains)
    verdict = ours or hit.verdict or "continue"
    if hit.verdict and ours != "reject" and hit.verdict != verdict:
        if is_exact(rule.target, state.chains):
            state.differ(hit.chain, rule.number, f"its verdict is {verdict}", f"says {hit.verdict}")
        verdict = hit.verdict
    state.match(rule, verdict, skipped, "seen", index)


def _check_mark(state: WalkState, hit: Hit, mark: int) -> None:
    if state.probe.mark == mark and state.probe.mark_known:
        return
    if state.probe.mark_known:
        state.differ(hit.chain, hit.number, f"the mark is {state.probe.mark:#x}", f"says {mark:#x}")
    state.take_mark(mark)


def _untraced_steps(state: WalkState, probe: Probe, hits: Sequence[Hit]) -> int:
    """Return how many matches came before the trace began: up to a TRACE rule, which only nf_tables names itself."""
    if not hits:
        return 0
    trial = WalkState(state.chains, state.base, probe)
    first = (hits[0].chain, hits[0].number)
    while trial.verdict is None and _model_step(trial) is None:
        rule = trial.segments[-1].matched
        if rule is not None and (rule.chain, rule.number) == first:
            return len(trial.segments) - 1 if rule.target.name == "TRACE" else 0
        if rule is not None and rule.target.name == "TRACE":
            return len(trial.segments)
    return 0


def _model(state: WalkState) -> Undecided | None:
    """Walk by the model alone."""
    while state.verdict is None:
        undecided = _model_step(state)
        if undecided is not None:
            return undecided
    return None


def _model_step(state: WalkState) -> Undecided | None:
    """Take the model's next match, or a chain's end; or say where it cannot know."""
    if not state.visits:
        state.policy((state.base.policy or "ACCEPT").lower(), "modelled")
        return None
    visit = state.visits[-1]
    skipped: list[Skipped] = []
    if visit.depth > len(state.chains):
        return Undecided(visit.chain.name, visit.at, "the chains jump in a circle, which no kernel takes", ())
    for rule in visit.chain.rules[visit.at - 1 :]:
        outcome = try_rule(rule, state.probe)
        if isinstance(outcome, Unmet):
            skipped.append(Skipped(rule, outcome.reason, "modelled"))
            continue
        verdict = verdict_of(rule.target, state.chains)
        if isinstance(outcome, Unknowable):
            return _undecided(state, rule, outcome.reason, tuple(skipped))
        if verdict is None:
            return _undecided(state, rule, f"target {rule.target.name} is not understood", tuple(skipped))
        state.match(rule, verdict, tuple(skipped), "modelled")
        return None
    if visit.depth > 0:
        state.end("modelled", passed=tuple(skipped))
    else:
        state.policy((state.base.policy or "ACCEPT").lower(), "modelled", passed=tuple(skipped))
    return None


def _undecided(state: WalkState, at: Rule, reason: str, skipped: tuple[Skipped, ...]) -> Undecided:
    """List the ways on from a rule that may match or not."""
    visit = state.visits[-1]
    ways: list[Continuation] = []
    for rule in visit.chain.rules[at.number - 1 :]:
        outcome = try_rule(rule, state.probe)
        if isinstance(outcome, Unmet):
            continue
        verdict = verdict_of(rule.target, state.chains)
        open_because = outcome.reason if isinstance(outcome, Unknowable) else ""
        if verdict is None:
            open_because = open_because or f"target {rule.target.name} is not understood"
        ways.append(Continuation(rule, verdict or rule.target.name, open_because))
        if isinstance(outcome, Met) and verdict is not None and verdict != "continue":
            break
    else:
        end = "return" if visit.depth > 0 else f"policy {(state.base.policy or 'ACCEPT').lower()}"
        ways.append(Continuation(None, end, ""))
    return Undecided(visit.chain.name, at.number, reason, tuple(ways), skipped)
