"""Cluster as one node sees it -> what kube-proxy v1.36 writes in IPVS mode, for one family.

Follows syncProxyRules of pkg/proxy/ipvs/proxier.go. A Service is not rules here but data: virtual servers, the
addresses that make them local, and entries of ipsets. The order among Services is ours (sorted by name).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address, ip_network

from kplab.model.cluster import Cluster, Family
from kplab.model.config import ProxyConfig
from kplab.modes import ipvs_sets as sets
from kplab.modes.detect import local_detector
from kplab.modes.endpoints import Categorized, ProxyEndpoint, categorize
from kplab.modes.facts import NodeFacts
from kplab.modes.iptables_settings import ZONE_LABEL
from kplab.modes.ipvs_program import IpvsProgram, RealServer, VirtualServer, VsKey
from kplab.modes.ipvs_rules import JUMPS, RuleInputs, tables
from kplab.modes.ipvs_sets import KINDS, ProgramSet, SetKind, set_name
from kplab.modes.names import family_of
from kplab.modes.nodeports import node_ip, node_port_addresses
from kplab.modes.program import IptablesProgram
from kplab.modes.services import ServicePortView
from kplab.modes.units import gather_units


def compile_ipvs(
    cluster: Cluster,
    config: ProxyConfig,
    node: str,
    family: Family,
    facts: NodeFacts,
    previous: IpvsProgram | None = None,
) -> IpvsProgram:
    """Return everything that kube-proxy on `node` would write for one family.

    `facts.addresses` are the node's without those on kube-ipvs0: NodePorts get a virtual server on each, and a
    load balancer's address or an external IP among them is not bound again. `previous` saves work, no more.
    """
    units = gather_units(cluster, family, node, previous.units if previous is not None else None)
    found = cluster.node(node)
    addresses = node_port_addresses(cluster, config, node, family, facts)
    state = _State(
        node=node,
        zone=found.label(ZONE_LABEL) if found else None,
        node_ip=node_ip(cluster, config, node, family, facts),
        scheduler=config.ipvs.scheduler,
        elsewhere=frozenset(facts.addresses),
        node_addresses=tuple(a for a in addresses.among(_of_family(facts, family)) if _answers_node_ports(a)),
    )
    for view, endpoints in units.sorted():
        _service(state, view, endpoints)
    entries = {kind: tuple(state.entries.get(kind, ())) for kind in KINDS}
    rules = RuleInputs(
        family=family,
        entries=entries,
        detector=local_detector(cluster, config, node, family),
        masquerade_all=config.iptables.masquerade_all,
        mark=f"0x{1 << config.iptables.masquerade_bit:08x}",
        random_fully=facts.random_fully,
        guarded=tuple(state.guarded),
    )
    return IpvsProgram(
        family=family,
        addresses=tuple(state.bound),
        servers=tuple(state.servers.values()),
        sets=tuple(ProgramSet(set_name(kind, family), kind.type, family, entries[kind]) for kind in KINDS),
        rules=IptablesProgram(family, JUMPS, tables(rules), units.endpoints()),
        endpoints=units.endpoints(),
        units=units,
    )


@dataclass(slots=True)
class _State:
    """What is gathered while Services are walked."""

    node: str
    zone: str | None
    node_ip: str
    scheduler: str
    elsewhere: frozenset[str]
    node_addresses: tuple[str, ...]
    entries: dict[SetKind, dict[str, None]] = field(default_factory=dict)
    bound: dict[str, None] = field(default_factory=dict)
    servers: dict[VsKey, VirtualServer] = field(default_factory=dict)
    guarded: list[tuple[str, str, int]] = field(default_factory=list)

    def add(self, kind: SetKind, entry: str) -> None:
        """Put an entry into a set."""
        self.entries.setdefault(kind, {})[entry] = None

    def bind(self, address: str) -> None:
        """Put an address on kube-ipvs0."""
        self.bound[address] = None
        self.add(sets.IPVS_IPS, address)


def _of_family(facts: NodeFacts, family: Family) -> tuple[str, ...]:
    return tuple(address for address in facts.addresses if family_of(address) == family)


def _answers_node_ports(address: str) -> bool:
    """Loopback and IPv6 link-local addresses get no virtual servers (isValidForSet of netlink_linux.go)."""
    ip = ip_address(address)
    return not ip.is_loopback and not (ip.version == 6 and ip.is_link_local)


def _service(state: _State, view: ServicePortView, endpoints: tuple[ProxyEndpoint, ...]) -> None:
    """One service port: ClusterIP, external IPs, load balancer, NodePort, in kube-proxy's order."""
    found = categorize(
        endpoints,
        uses_cluster=view.uses_cluster_endpoints,
        uses_local=view.uses_local_endpoints,
        node=state.node,
        zone=state.zone,
    )
    for endpoint in endpoints:
        # Not ready ones too: a pod that meets itself is found by its address alone.
        if endpoint.local:
            ip = endpoint.ip
            state.add(sets.LOOP_BACK, f"{ip},{view.protocol}:{endpoint.port},{ip}")
    internal = _reals(found, local=view.internal_local)
    same = view.external_local == view.internal_local
    external = internal if same else _reals(found, local=view.external_local)
    state.add(sets.CLUSTER_IP, _entry(view, view.cluster_ip))
    _server(state, view, view.cluster_ip, view.port, internal)
    state.bind(view.cluster_ip)
    for address in view.external_ips:
        state.add(sets.EXTERNAL_IP_LOCAL if view.external_local else sets.EXTERNAL_IP, _entry(view, address))
        _portal(state, view, address, external)
    for vip in view.load_balancer_vips:
        _load_balancer(state, view, vip)
        _portal(state, view, vip, external)
    if view.node_port:
        _node_port(state, view, view.node_port, external)
    if view.health_check_node_port:
        state.add(sets.HEALTH_CHECK_NODE_PORT, str(view.health_check_node_port))


def _entry(view: ServicePortView, address: str) -> str:
    return f"{address},{view.protocol}:{view.port}"


def _reals(found: Categorized, *, local: bool) -> tuple[RealServer, ...]:
    """Policy Local falls back to the whole cluster when nothing is local (pull request 97081)."""
    chosen = found.local if local and found.local else found.cluster
    return tuple([_real(endpoint.ip, endpoint.port) for endpoint in chosen])


@lru_cache(maxsize=1 << 16)
def _real(ip: str, port: int) -> RealServer:
    """Return the same object for the same place, so that two programs are soon found equal."""
    return RealServer(ip, port)


def _server(state: _State, view: ServicePortView, address: str, port: int, reals: tuple[RealServer, ...]) -> None:
    key = VsKey(view.key.protocol, address, port)
    hashed = state.scheduler == "mh"
    state.servers[key] = VirtualServer(key, state.scheduler, view.affinity_seconds, hashed, reals)


def _portal(state: _State, view: ServicePortView, address: str, reals: tuple[RealServer, ...]) -> None:
    """An address that may be somewhere on the node already: then it is served, and not bound again."""
    _server(state, view, address, view.port, reals)
    if address not in state.elsewhere:
        state.bind(address)


def _load_balancer(state: _State, view: ServicePortView, vip: str) -> None:
    entry = _entry(view, vip)
    state.add(sets.LOAD_BALANCER, entry)
    if view.external_local:
        state.add(sets.LOAD_BALANCER_LOCAL, entry)
    if not view.source_ranges or any(ip_network(cidr).prefixlen == 0 for cidr in view.source_ranges):
        # An ipset takes no /0, and one means what no ranges mean (pull request 132722).
        return
    state.add(sets.LOAD_BALANCER_FW, entry)
    for cidr in view.source_ranges:
        state.add(sets.LOAD_BALANCER_SOURCE_CIDR, f"{entry},{cidr}")
    if any(ip_address(state.node_ip) in ip_network(cidr) for cidr in view.source_ranges):
        # The node's own processes reach the VIP from the VIP.
        state.add(sets.LOAD_BALANCER_SOURCE_IP, f"{entry},{vip}")
    else:
        state.guarded.append((vip, view.protocol, view.port))


_NODE_PORT_SETS = {
    "tcp": (sets.NODE_PORT_TCP, sets.NODE_PORT_LOCAL_TCP),
    "udp": (sets.NODE_PORT_UDP, sets.NODE_PORT_LOCAL_UDP),
    "sctp": (sets.NODE_PORT_SCTP, sets.NODE_PORT_LOCAL_SCTP),
}


def _node_port(state: _State, view: ServicePortView, port: int, reals: tuple[RealServer, ...]) -> None:
    if not state.node_addresses:
        return
    kinds = _NODE_PORT_SETS[view.protocol]
    for kind in kinds if view.external_local else kinds[:1]:
        entries = [f"{ip},sctp:{port}" for ip in state.node_addresses] if view.protocol == "sctp" else [str(port)]
        for entry in entries:
            state.add(kind, entry)
    for address in state.node_addresses:
        _server(state, view, address, port, reals)
