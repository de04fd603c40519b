"""Checks of a repair: what the kernel holds, and what real connections meet. Each says what it found."""

from __future__ import annotations

from typing import assert_never

from kplab.course.check_findings import Findings
from kplab.course.check_ipvs import ipvs_rules, ipvs_service
from kplab.course.check_lookup import service_lookup
from kplab.course.check_maps import map_service
from kplab.course.lesson import Check, Connections, IpvsRules, IpvsService, MapService, ServiceLookup, ServiceRules
from kplab.model.ruleset import AddressMatch, Chain, Rule, Ruleset, StatisticMatch
from kplab.rules.iptables_save import parse_iptables_save
from kplab.session.base import Session
from kplab.trace.recording import NodeState

_GIVE_UP_AFTER = 3
"""Failed connections after which the rest are not tried: each may take its whole time limit."""

_PROBABILITY_STEP = 2.0**-31
"""xt_statistic keeps a probability as a 31-bit fraction (net/netfilter/xt_statistic.c)."""


def examine(check: Check, session: Session) -> Findings:
    """Carry out one check in the lab."""
    match check:
        case ServiceRules():
            return service_rules(check, ruleset_of(session.read_node(check.node), session.facts.backend))
        case ServiceLookup():
            return service_lookup(check, session)
        case IpvsService():
            return ipvs_service(check, session)
        case IpvsRules():
            backend = session.facts.backend
            saved = session.execute(check.node, (f"iptables-{backend}-save", "-t", "filter")).stdout
            return ipvs_rules(check, parse_iptables_save(saved, 4, backend))
        case MapService():
            return map_service(check, session)
        case Connections():
            return connections(check, session)
        case _:
            assert_never(check)


def ruleset_of(state: NodeState, backend: str) -> Ruleset:
    """Parse a node's IPv4 rules of the lab's back-end, as iptables-save printed them."""
    save = next(save for save in state.saves if save.family == 4 and save.backend == backend)
    return parse_iptables_save(save.text, save.family, save.backend)


def service_rules(check: ServiceRules, ruleset: Ruleset) -> Findings:
    """Follow a ClusterIP through the nat table as a packet would, and compare its ends with the endpoints."""
    services = ruleset.chain("nat", "KUBE-SERVICES")
    entry = next((r for r in services.rules if r.comment == f"{check.service} cluster IP"), None) if services else None
    if entry is None:
        return Findings((), (f"nat KUBE-SERVICES of {check.node} has no rule for {check.service}'s cluster IP",))
    chain = ruleset.chain("nat", entry.target.name)
    jumps = [r for r in chain.rules if r.target.name.startswith("KUBE-SEP-")] if chain else []
    lines = [f"{check.node}: KUBE-SERVICES → {entry.target.name}, which has {_count(len(jumps), 'endpoint rule')}"]
    missed = _unevenness(entry.target.name, jumps)
    reached = []
    for jump in jumps:
        found, wrong = _endpoint(jump, ruleset.chain("nat", jump.target.name))
        reached += [found] if found else []
        missed += wrong
    missed += [f"no rule of {entry.target.name} leads to {e}" for e in check.endpoints if e not in reached]
    missed += [f"{entry.target.name} leads to {e}, which is no endpoint of {check.service}" for e in reached
               if e not in check.endpoints]  # fmt: skip
    if not missed:
        lines.append("each endpoint's chain marks hairpin traffic and ends in DNAT to its endpoint")
    return Findings(tuple(lines), tuple(missed))


def _endpoint(jump: Rule, chain: Chain | None) -> tuple[str | None, list[str]]:
    """Return the endpoint that a KUBE-SEP chain leads to, and what is wrong with the chain."""
    name = jump.target.name
    promised = (jump.comment or "").rpartition("-> ")[2] or None
    rules = chain.rules if chain else ()
    if not rules:
        said = f" ({jump.comment})" if jump.comment else ""
        return None, [f"{name}{said} is empty: a packet that jumps there comes back as it was"]
    dnat = next((rule for rule in rules if rule.target.name == "DNAT"), None)
    endpoint = dnat.target.option("to-destination") if dnat else None
    if dnat is None or endpoint is None:
        return None, [f"{name} has no DNAT rule: a packet that jumps there comes back as it was"]
    wrong = []
    if promised is not None and promised != endpoint:
        wrong.append(f"{name} rewrites to {endpoint}, but the rule that jumps there is for {promised}")
    host = endpoint.rpartition(":")[0].strip("[]")
    if not any(_marks_hairpin(rule, host) for rule in rules if rule.number < dnat.number):
        wrong.append(f"{name} does not mark its own endpoint's packets (-s {host} -j KUBE-MARK-MASQ, before the DNAT)")
    return endpoint, wrong


def _marks_hairpin(rule: Rule, host: str) -> bool:
    sources = [m for m in rule.matches if isinstance(m, AddressMatch) and m.side == "source" and not m.inverted]
    return rule.target.name == "KUBE-MARK-MASQ" and any(str(m.network.network_address) == host for m in sources)


def _unevenness(chain: str, jumps: list[Rule]) -> list[str]:
    """Say which rules would not give each of N endpoints 1/N: the n-th needs 1/(N-n), the last none."""
    wrong = []
    for index, jump in enumerate(jumps):
        left = len(jumps) - index
        draw = next((m.probability for m in jump.matches if isinstance(m, StatisticMatch)), None)
        due = None if left == 1 else 1 / left
        same = draw is due if draw is None or due is None else abs(draw - due) <= 2 * _PROBABILITY_STEP
        if not same:
            is_, needs = (f"{p:.4f}" if p is not None else "none" for p in (draw, due))
            wrong.append(f"{chain}, rule {jump.number} ({jump.target.name}): probability is {is_}, needs {needs}")
    return wrong


def connections(check: Connections, session: Session) -> Findings:
    """Open real connections until every endpoint has answered and `times` were tried; stop early on failures."""
    argv = ("curl", "-sS", "--max-time", str(check.seconds), check.url)
    met: set[str] = set()
    failures: list[str] = []
    tried = 0
    # Which endpoint answers is drawn: an absent one gets as many connections again before it is called absent.
    while tried < check.times * (1 if len(met) == len(check.answers) else 2) and len(failures) < _GIVE_UP_AFTER:
        tried += 1
        done = session.execute(check.sender, argv)
        if done.status != 0:
            failures.append(done.stderr.strip() or f"curl ended with status {done.status}")
        met.update(name for name in check.answers if name in done.stdout)
    line = f"{check.sender}: curl {check.url}, {tried} times: {tried - len(failures)} answered"
    shares = f"answers came from {', '.join(sorted(met)) or 'nobody'}"
    missed = [f"{len(failures)} of {tried} connections failed: {failures[0]}"] if failures else []
    absent = [name for name in check.answers if name not in met]
    if absent and not failures:
        missed.append(f"in {tried} connections, {', '.join(absent)} never answered; chance cannot explain that")
    return Findings((line, shares), tuple(missed))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
