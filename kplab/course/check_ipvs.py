"""Checks of IPVS mode: a virtual server that packets get to, and rules that are this mode's and no other's."""

from __future__ import annotations

from kplab.course.check_findings import Findings
from kplab.course.held_ipvs import DEVICE, bound_addresses
from kplab.course.lesson import IpvsRules, IpvsService
from kplab.model.ruleset import Chain, Ruleset
from kplab.rules.ipset_save import parse_ipset_save
from kplab.rules.ipvsadm import HeldServer, parse_save, split_address
from kplab.session.base import Session

CLUSTER_IPS, BOUND_IPS = "KUBE-CLUSTER-IP", "KUBE-IPVS-IPS"
GUARDS = ("KUBE-NODE-PORT", "KUBE-PROXY-FIREWALL", "KUBE-IPVS-FILTER")
"""Chains that kube-proxy hooks into filter INPUT in IPVS mode."""
OTHER_MODES = ("KUBE-EXTERNAL-SERVICES", "KUBE-SERVICES", "KUBE-NODEPORTS")
"""Chains of filter that only iptables mode has; a switch of modes leaves them, with what they said that day."""


def ipvs_service(check: IpvsService, session: Session) -> Findings:
    """Follow a packet to a virtual server: the address is local, the server stands, each real server gets its turn."""
    listed = session.execute(check.node, ("sh", "-c", "ipvsadm -S -n; echo --; ipset save")).stdout
    servers, _, sets = listed.partition("--\n")
    protocol, _, place = check.server.partition(" ")
    address, port = split_address(place)
    missed = _not_local(check.node, address, session)
    missed += _not_in_sets(check.node, sets, address, f"{address},{protocol.lower()}:{port}")
    server = next(
        (s for s in parse_save(servers) if (s.protocol, s.address, s.port) == (protocol, address, port)), None
    )
    if server is None:
        return Findings((), (*missed, f"{check.node}: IPVS has no virtual server {check.server}"))
    line = f"{check.node}: IPVS has {check.server}, scheduler {server.scheduler}, {len(server.reals)} real servers"
    return Findings((line,), (*missed, *_wrong_reals(check, server)))


def _not_local(node: str, address: str, session: Session) -> list[str]:
    bound = bound_addresses(session, node)
    if bound is None:
        return [f"{node} has no device {DEVICE}"]
    if f"{address}/32" in bound:
        return []
    return [f"{address} is not an address of {DEVICE}, which is what brings packets to {node}'s INPUT, where IPVS is"]


def _not_in_sets(node: str, saved: str, address: str, entry: str) -> list[str]:
    sets = parse_ipset_save(saved)
    wanted = ((CLUSTER_IPS, entry), (BOUND_IPS, address))
    return [
        f"the ipset {name} of {node} has no member {member}"
        for name, member in wanted
        if name not in sets or member not in sets[name].members
    ]


def _wrong_reals(check: IpvsService, server: HeldServer) -> list[str]:
    weights = {f"{real.address}:{real.port}": real.weight for real in server.reals}
    wrong = [f"{check.server} has no real server {each}" for each in check.endpoints if each not in weights]
    wrong += [f"{check.server} has a real server {each}, which is no endpoint" for each in weights
              if each not in check.endpoints]  # fmt: skip
    for each, weight in weights.items():
        if weight == 0:
            wrong.append(f"{each} has weight 0: it keeps its connections and gets no new one")
        elif weight != 1:
            wrong.append(f"{each} has weight {weight}; kube-proxy gives each 1")
    return wrong


def ipvs_rules(check: IpvsRules, ruleset: Ruleset) -> Findings:
    """Look for IPVS mode's own guards in filter INPUT, and for what iptables mode has left there."""
    entry = ruleset.chain("filter", "INPUT")
    jumps = [rule.target.name for rule in entry.rules] if entry else []
    missed = [f"filter INPUT of {check.node} does not jump to {name}" for name in GUARDS if name not in jumps]
    guard = ruleset.chain("filter", "KUBE-IPVS-FILTER")
    if guard is None or not any(rule.target.name == "REJECT" for rule in guard.rules):
        missed.append("KUBE-IPVS-FILTER rejects nothing: every port of the node is open at each Service's address")
    missed += [f"filter INPUT jumps to {name} still, which only iptables mode has" for name in dict.fromkeys(jumps)
               if name in OTHER_MODES]  # fmt: skip
    left = [chain for name in OTHER_MODES if (chain := ruleset.chain("filter", name)) is not None]
    missed += [text for chain in left for text in _frozen(chain)]
    own = {"ACCEPT", "DROP", "REJECT"}
    missed += [f"filter INPUT, rule {rule.number} is none of kube-proxy's: {rule.target.name}"
               for rule in (entry.rules if entry else ()) if rule.target.name in own]  # fmt: skip
    lines = () if missed else (f"{check.node}: filter INPUT jumps to IPVS mode's chains, and to no other mode's",)
    return Findings(lines, tuple(missed))


def _frozen(chain: Chain) -> list[str]:
    """Say what a chain that nobody keeps in step any more still says."""
    return [
        f"{chain.name} still has a rule of iptables mode's: {rule.comment or 'no comment'}, {rule.target.name}"
        for rule in chain.rules
    ]
