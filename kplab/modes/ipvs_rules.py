"""The iptables rules of IPVS mode: a fixed few, which look Services up in ipsets.

Follows writeIptablesRules of pkg/proxy/ipvs/proxier.go, v1.36: nat before filter, and in it the order in which
kube-proxy appends. A rule whose set is empty is left out, but for those of KUBE-IPVS-FILTER and KUBE-NODE-PORT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kplab.model.cluster import Family
from kplab.modes import ipvs_sets as sets
from kplab.modes.detect import LocalDetector
from kplab.modes.ipvs_sets import SetKind, set_name
from kplab.modes.program import ChainLine, Jump, RuleLine, TableProgram

NAT_CHAINS = ("KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ")
FILTER_CHAINS = (
    "KUBE-FORWARD", "KUBE-NODE-PORT", "KUBE-PROXY-FIREWALL", "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER",
    "KUBE-IPVS-OUT-FILTER",
)  # fmt: skip


def _jump(table: str, source: str, target: str, comment: str) -> Jump:
    return Jump(table, source, target, ("-m", "comment", "--comment", comment))


JUMPS: tuple[Jump, ...] = (
    _jump("nat", "OUTPUT", "KUBE-SERVICES", "kubernetes service portals"),
    _jump("nat", "PREROUTING", "KUBE-SERVICES", "kubernetes service portals"),
    _jump("nat", "POSTROUTING", "KUBE-POSTROUTING", "kubernetes postrouting rules"),
    _jump("filter", "FORWARD", "KUBE-FORWARD", "kubernetes forwarding rules"),
    _jump("filter", "INPUT", "KUBE-NODE-PORT", "kubernetes health check rules"),
    _jump("filter", "INPUT", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
    _jump("filter", "FORWARD", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
    _jump("filter", "INPUT", "KUBE-IPVS-FILTER", "kubernetes ipvs access filter"),
    _jump("filter", "OUTPUT", "KUBE-IPVS-OUT-FILTER", "kubernetes ipvs access filter"),
)
"""In the order in which they are ensured, at every sync; each is prepended."""

_FROM_OUTSIDE = "-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT"
_TO_THIS_NODE = "-m addrtype --dst-type LOCAL -j ACCEPT"


@dataclass(frozen=True, slots=True)
class RuleInputs:
    """What the rules depend on."""

    family: Family
    entries: Mapping[SetKind, tuple[str, ...]]
    detector: LocalDetector | None
    masquerade_all: bool
    mark: str
    random_fully: bool
    guarded: tuple[tuple[str, str, int], ...]
    """(VIP, "tcp", port) of each load balancer whose source ranges leave this node out."""

    def match(self, kind: SetKind, directions: str) -> str:
        """The comment and the match of a set: `-m comment --comment "…" -m set --match-set NAME dst,dst`."""
        return f'-m comment --comment "{kind.comment}" {self.plain_match(kind, directions)}'

    def plain_match(self, kind: SetKind, directions: str) -> str:
        """The match without a comment."""
        return f"-m set --match-set {set_name(kind, self.family)} {directions}"

    def filled(self, kind: SetKind) -> bool:
        """Tell whether a set has entries."""
        return bool(self.entries.get(kind))


def tables(inputs: RuleInputs) -> tuple[TableProgram, TableProgram]:
    """Return nat and filter."""
    return (
        TableProgram("nat", _chains(NAT_CHAINS), _rules(_nat(inputs))),
        TableProgram("filter", _chains(FILTER_CHAINS), _rules(_filter(inputs))),
    )


def _nat(inputs: RuleInputs) -> list[tuple[str, str]]:
    services, local = "KUBE-SERVICES", "127.0.0.0/8" if inputs.family == 4 else "::1/128"
    rules = [(services, f"-s {local} -j RETURN")]
    if inputs.filled(sets.LOOP_BACK):
        rules.append(("KUBE-POSTROUTING", f"{inputs.match(sets.LOOP_BACK, 'dst,dst,src')} -j MASQUERADE"))
    if inputs.filled(sets.LOAD_BALANCER):
        rules.append((services, f"{inputs.match(sets.LOAD_BALANCER, 'dst,dst')} -j KUBE-LOAD-BALANCER"))
    if inputs.filled(sets.LOAD_BALANCER_LOCAL):
        rules.append(("KUBE-LOAD-BALANCER", f"{inputs.match(sets.LOAD_BALANCER_LOCAL, 'dst,dst')} -j RETURN"))
    rules += _node_ports(inputs)
    rules += [(services, text) for text in _cluster_ips(inputs) + _external_ips(inputs)]
    rules.append((services, "-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT"))
    rules.append(("KUBE-LOAD-BALANCER", "-j KUBE-MARK-MASQ"))
    # Services end here, so that another's later rules, such as a hostPort's, do not take them.
    rules += [
        (services, f"{inputs.plain_match(kind, 'dst,dst')} -j ACCEPT")
        for kind in (sets.CLUSTER_IP, sets.LOAD_BALANCER)
        if inputs.filled(kind)
    ]
    mark, fully = inputs.mark, " --random-fully" if inputs.random_fully else ""
    snat = "kubernetes service traffic requiring SNAT"
    return [
        *rules,
        ("KUBE-POSTROUTING", f"-m mark ! --mark {mark}/{mark} -j RETURN"),
        ("KUBE-POSTROUTING", f"-j MARK --xor-mark {mark}"),
        ("KUBE-POSTROUTING", f'-m comment --comment "{snat}" -j MASQUERADE{fully}'),
        ("KUBE-MARK-MASQ", f"-j MARK --or-mark {mark}"),
    ]


def _node_ports(inputs: RuleInputs) -> list[tuple[str, str]]:
    found = []
    for protocol, local, cluster, directions in (
        ("tcp", sets.NODE_PORT_LOCAL_TCP, sets.NODE_PORT_TCP, "dst"),
        ("udp", sets.NODE_PORT_LOCAL_UDP, sets.NODE_PORT_UDP, "dst"),
        ("sctp", sets.NODE_PORT_LOCAL_SCTP, sets.NODE_PORT_SCTP, "dst,dst"),
    ):
        for kind, target in ((local, "RETURN"), (cluster, "KUBE-MARK-MASQ")):
            if inputs.filled(kind):
                found.append(("KUBE-NODE-PORT", f"-p {protocol} {inputs.match(kind, directions)} -j {target}"))
    return found


def _cluster_ips(inputs: RuleInputs) -> list[str]:
    if not inputs.filled(sets.CLUSTER_IP):
        return []
    if inputs.masquerade_all:
        return [f"{inputs.match(sets.CLUSTER_IP, 'dst,dst')} -j KUBE-MARK-MASQ"]
    if inputs.detector is not None:
        return [f"{inputs.match(sets.CLUSTER_IP, 'dst,dst')} {inputs.detector.if_not_local} -j KUBE-MARK-MASQ"]
    # Traffic of the node's own processes to a Service has the Service's address as its source.
    return [f"{inputs.match(sets.CLUSTER_IP, 'src,dst')} -j KUBE-MARK-MASQ"]


def _external_ips(inputs: RuleInputs) -> list[str]:
    found = []
    for kind, masquerade in ((sets.EXTERNAL_IP, True), (sets.EXTERNAL_IP_LOCAL, False)):
        if inputs.filled(kind):
            match = inputs.match(kind, "dst,dst")
            found += [f"{match} -j KUBE-MARK-MASQ"] if masquerade else []
            found += [f"{match} {_FROM_OUTSIDE}", f"{match} {_TO_THIS_NODE}"]
    return found


def _filter(inputs: RuleInputs) -> list[tuple[str, str]]:
    ranges = "KUBE-SOURCE-RANGES-FIREWALL"
    rules = []
    if inputs.filled(sets.LOAD_BALANCER_FW):
        rules.append(("KUBE-PROXY-FIREWALL", f"{inputs.match(sets.LOAD_BALANCER_FW, 'dst,dst')} -j {ranges}"))
    rules += [
        (ranges, f"{inputs.match(kind, 'dst,dst,src')} -j RETURN")
        for kind in (sets.LOAD_BALANCER_SOURCE_CIDR, sets.LOAD_BALANCER_SOURCE_IP)
        if inputs.filled(kind)
    ]
    rules.append((ranges, "-j DROP"))
    rules += [
        ("KUBE-IPVS-OUT-FILTER", f"-s {vip} -m ipvs --vaddr {vip} --vproto {protocol} --vport {port} -j DROP")
        for vip, protocol, port in inputs.guarded
    ]
    mark, access = inputs.mark, "KUBE-IPVS-FILTER"
    rules += [
        (
            "KUBE-FORWARD",
            f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {mark}/{mark} -j ACCEPT',
        ),
        (
            "KUBE-FORWARD",
            '-m comment --comment "kubernetes forwarding conntrack rule" '
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ),
        ("KUBE-NODE-PORT", f"{inputs.match(sets.HEALTH_CHECK_NODE_PORT, 'dst')} -j ACCEPT"),
    ]
    rules += [
        (access, f"{inputs.plain_match(kind, 'dst,dst')} -j RETURN")
        for kind in (sets.LOAD_BALANCER, sets.CLUSTER_IP, sets.EXTERNAL_IP, sets.EXTERNAL_IP_LOCAL)
    ]
    rules.append((access, f"{inputs.plain_match(sets.HEALTH_CHECK_NODE_PORT, 'dst')} -j RETURN"))
    rules.append((access, f"-m conntrack --ctstate NEW {inputs.plain_match(sets.IPVS_IPS, 'dst')} -j REJECT"))
    return rules


def _chains(names: tuple[str, ...]) -> tuple[ChainLine, ...]:
    return tuple(ChainLine(name) for name in names)


def _rules(rules: list[tuple[str, str]]) -> tuple[RuleLine, ...]:
    return tuple(RuleLine(chain, f"-A {chain} {body}") for chain, body in rules)
