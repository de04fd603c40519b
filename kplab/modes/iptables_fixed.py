"""What kube-proxy writes in iptables mode whatever Services there are: jumps, fixed chains, their rules."""

from __future__ import annotations

from dataclasses import dataclass

from kplab.modes.facts import NodeFacts
from kplab.modes.iptables_settings import Settings
from kplab.modes.nodeports import NodePortAddresses
from kplab.modes.program import ChainLine, Jump, RuleLine

_NEW = ("-m", "conntrack", "--ctstate", "NEW")
_NODEPORTS_LAST = "kubernetes service nodeports; NOTE: this must be the last rule in this chain"


def _jump(table: str, source: str, target: str, comment: str, match: tuple[str, ...] = ()) -> Jump:
    return Jump(table, source, target, (*match, *(("-m", "comment", "--comment", comment) if comment else ())))


JUMPS: tuple[Jump, ...] = (
    _jump("filter", "INPUT", "KUBE-EXTERNAL-SERVICES", "kubernetes externally-visible service portals", _NEW),
    _jump("filter", "FORWARD", "KUBE-EXTERNAL-SERVICES", "kubernetes externally-visible service portals", _NEW),
    _jump("filter", "INPUT", "KUBE-NODEPORTS", "kubernetes health check service ports"),
    _jump("filter", "FORWARD", "KUBE-SERVICES", "kubernetes service portals", _NEW),
    _jump("filter", "OUTPUT", "KUBE-SERVICES", "kubernetes service portals", _NEW),
    _jump("filter", "FORWARD", "KUBE-FORWARD", "kubernetes forwarding rules"),
    _jump("filter", "INPUT", "KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall", _NEW),
    _jump("filter", "OUTPUT", "KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall", _NEW),
    _jump("filter", "FORWARD", "KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall", _NEW),
    _jump("nat", "OUTPUT", "KUBE-SERVICES", "kubernetes service portals"),
    _jump("nat", "PREROUTING", "KUBE-SERVICES", "kubernetes service portals"),
    _jump("nat", "POSTROUTING", "KUBE-POSTROUTING", "kubernetes postrouting rules"),
    _jump("filter", "INPUT", "KUBE-FIREWALL", ""),
    _jump("filter", "OUTPUT", "KUBE-FIREWALL", ""),
)
"""In the order in which they are ensured; each is prepended, so that a clean node holds them in reverse.
The comment is one argument, without the quotes that the restore text needs."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One table's fixed part: chains, the rules before those of Services, those after, those after deletions."""

    chains: tuple[ChainLine, ...]
    first: tuple[RuleLine, ...]
    after: tuple[RuleLine, ...] = ()
    last: tuple[RuleLine, ...] = ()


def filter_frame(settings: Settings, *, drop_invalid: bool) -> Frame:
    """Return filter's fixed part; `drop_invalid` is false where conntrack is liberal about TCP windows."""
    names = ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"]
    firewall = []
    if settings.localhost_node_ports:
        names.append("KUBE-FIREWALL")
        firewall = [
            '-m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8 '
            "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
        ]
    counter = "-m nfacct --nfacct-name ct_state_invalid_dropped_pkts " if settings.nfacct else ""
    forward = [f"-m conntrack --ctstate INVALID {counter}-j DROP"] if drop_invalid else []
    forward += [
        f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {settings.mark}/{settings.mark} -j ACCEPT',
        '-m comment --comment "kubernetes forwarding conntrack rule" '
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ]
    return Frame(_chains(names), _rules("KUBE-FIREWALL", firewall), _rules("KUBE-FORWARD", forward))


def nat_frame(settings: Settings, addresses: NodePortAddresses, facts: NodeFacts) -> Frame:
    """Return nat's fixed part; its last rules send what is left for this node to KUBE-NODEPORTS."""
    mark = settings.mark
    fully = " --random-fully" if facts.random_fully else ""
    postrouting = [
        f"-m mark ! --mark {mark}/{mark} -j RETURN",
        f"-j MARK --xor-mark {mark}",
        f'-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE{fully}',
    ]
    first = _rules("KUBE-POSTROUTING", postrouting) + _rules("KUBE-MARK-MASQ", [f"-j MARK --or-mark {mark}"])
    last = [
        f'-m comment --comment "{_NODEPORTS_LAST}" {match} -j KUBE-NODEPORTS'
        for match in _node_port_matches(settings, addresses, facts)
    ]
    names = ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"]
    return Frame(_chains(names), first, last=_rules("KUBE-SERVICES", last))


def _node_port_matches(settings: Settings, addresses: NodePortAddresses, facts: NodeFacts) -> list[str]:
    if not addresses.match_all:
        found = addresses.among(facts.addresses)
        return [f"-d {ip}" for ip in found if settings.localhost_node_ports or not _loopback(ip)]
    if settings.family == 6:
        return ["-m addrtype --dst-type LOCAL ! -d ::1/128"]
    spared = "" if settings.localhost_node_ports else " ! -d 127.0.0.0/8"
    return [f"-m addrtype --dst-type LOCAL{spared}"]


def _loopback(ip: str) -> bool:
    return ip == "::1" or ip.startswith("127.")


def _chains(names: list[str]) -> tuple[ChainLine, ...]:
    return tuple(ChainLine(name) for name in names)


def _rules(chain: str, bodies: list[str]) -> tuple[RuleLine, ...]:
    return tuple(RuleLine(chain, f"-A {chain} {body}") for body in bodies)
