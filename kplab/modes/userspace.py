"""Userspace mode, which Kubernetes removed in 1.26: rules that bring a Service's traffic to a port of kube-proxy.

After pkg/proxy/userspace/proxier.go of v1.25 (openPortal, openNodePort, iptablesInit and the functions that put rules
together). No dump of a real one is at hand to compare with: chains, matches, targets, comments and the order of the
jumps are written from knowledge of that source. What differs on purpose:

* kube-proxy added rules one by one (`iptables -C`, `-A`); here each chain is written whole, in sorted order.
* kube-proxy let the kernel choose the ports that it listens on, unless `--proxy-port-range` was given; here they are
  counted up from FIRST_PORT, so that what is printed is what will be used.
* Like the old one, this mode is for one family, IPv4, and knows no traffic policies, topology hints, source ranges or
  terminating endpoints: they came after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kplab.model.cluster import Cluster, Family
from kplab.model.config import ProxyConfig
from kplab.modes.facts import NodeFacts
from kplab.modes.nodeports import node_ip
from kplab.modes.program import ChainLine, IptablesProgram, Jump, RuleLine, TableProgram
from kplab.modes.services import ServicePortView
from kplab.modes.units import gather_units

FIRST_PORT = 20001
"""The first port that kube-proxy listens on; each service port takes the next. It lies below NodePorts and below the
ports that the kernel gives to outgoing connections."""

CONTAINER_PORTALS, HOST_PORTALS = "KUBE-PORTALS-CONTAINER", "KUBE-PORTALS-HOST"
CONTAINER_NODE_PORTS, HOST_NODE_PORTS = "KUBE-NODEPORT-CONTAINER", "KUBE-NODEPORT-HOST"
NON_LOCAL_NODE_PORTS = "KUBE-NODEPORT-NON-LOCAL"

_COMMENT = ("-m", "comment", "--comment")
_PORTALS_FIRST = (*_COMMENT, "handle ClusterIPs; NOTE: this must be before the NodePort rules")
_NODE_PORTS_LAST = (
    "-m", "addrtype", "--dst-type", "LOCAL", *_COMMENT,
    "handle service NodePorts; NOTE: this must be the last rule in the chain",
)  # fmt: skip

JUMPS = (
    Jump("nat", "PREROUTING", CONTAINER_NODE_PORTS, _NODE_PORTS_LAST),
    Jump("nat", "OUTPUT", HOST_NODE_PORTS, _NODE_PORTS_LAST),
    Jump("nat", "PREROUTING", CONTAINER_PORTALS, _PORTALS_FIRST),
    Jump("nat", "OUTPUT", HOST_PORTALS, _PORTALS_FIRST),
    Jump("filter", "INPUT", NON_LOCAL_NODE_PORTS, (*_COMMENT, "Ensure that non-local NodePort traffic can flow")),
)
"""In the order in which they are inserted, each before what is there: so ClusterIPs come before NodePorts."""


@dataclass(frozen=True, slots=True)
class ProxiedPort:
    """One service port that kube-proxy itself listens for."""

    owner: str
    """"ns/name:port"."""
    protocol: str
    """"tcp" or "udp"."""
    proxy_port: int
    """Where kube-proxy listens."""
    endpoints: tuple[str, ...]
    """"10.244.1.10:8080", sorted; the old one shuffled them at each change."""
    affinity_seconds: int | None
    view: ServicePortView

    @property
    def name(self) -> tuple[str, str]:
        """What stays the same from one state of the cluster to the next."""
        return self.owner, self.protocol


def proxied_ports(
    cluster: Cluster, node: str, taken: Mapping[tuple[str, str], int] | None = None
) -> tuple[ProxiedPort, ...]:
    """Return the IPv4 service ports to listen for; one that is in `taken` keeps its port. SCTP was never proxied."""
    kept = dict(taken or {})
    used = set(kept.values())
    fresh = (port for port in range(FIRST_PORT, 65536) if port not in used)
    found = []
    for view, endpoints in gather_units(cluster, 4, node).sorted():
        if view.protocol in ("tcp", "udp"):
            name = (view.owner, view.protocol)
            port = kept[name] if name in kept else next(fresh)
            ready = tuple(endpoint.text for endpoint in endpoints if endpoint.ready)
            found.append(ProxiedPort(view.owner, view.protocol, port, ready, view.affinity_seconds, view))
    return tuple(found)


def compile_userspace(
    cluster: Cluster, config: ProxyConfig, node: str, family: Family, facts: NodeFacts
) -> IptablesProgram:
    """Return one family's rules; IPv6 has none."""
    if family == 6:
        return IptablesProgram(family, (), ())
    return redirecting(proxied_ports(cluster, node), node_ip(cluster, config, node, 4, facts))


def redirecting(ports: tuple[ProxiedPort, ...], host: str) -> IptablesProgram:
    """Return the rules that bring these ports' traffic to kube-proxy; `host` is the node's own address."""
    rules = [rule for port in ports for rule in _rules(port, host)]
    chains = (CONTAINER_PORTALS, HOST_PORTALS, CONTAINER_NODE_PORTS, HOST_NODE_PORTS)
    allowed = tuple(_allowed(port) for port in ports if port.view.node_port)
    filter_table = TableProgram("filter", (ChainLine(NON_LOCAL_NODE_PORTS),), allowed)
    nat_table = TableProgram("nat", tuple(ChainLine(name) for name in chains), tuple(rules))
    return IptablesProgram(4, JUMPS, (filter_table, nat_table), sum(len(port.endpoints) for port in ports))


def _rules(port: ProxiedPort, host: str) -> list[RuleLine]:
    view = port.view
    here = f"-j REDIRECT --to-ports {port.proxy_port}"
    # On OUTPUT the old kube-proxy wrote DNAT to the node's address: REDIRECT would mean loopback there.
    node = f"-j DNAT --to-destination {host}:{port.proxy_port}"
    cluster = _matches(port, view.port, view.cluster_ip)
    rules = [_rule(CONTAINER_PORTALS, cluster, here), _rule(HOST_PORTALS, cluster, node)]
    for address in (*view.external_ips, *view.load_balancer_vips):
        external = _matches(port, view.port, address)
        local = f"{external} -m addrtype --dst-type LOCAL"
        rules += [
            _rule(CONTAINER_PORTALS, f"{external} -m physdev ! --physdev-is-in", here),
            _rule(CONTAINER_PORTALS, local, here),
            _rule(HOST_PORTALS, local, node),
        ]
    if view.node_port:
        matches = _matches(port, view.node_port, None)
        rules += [_rule(CONTAINER_NODE_PORTS, matches, here), _rule(HOST_NODE_PORTS, matches, node)]
    return rules


def _allowed(port: ProxiedPort) -> RuleLine:
    return _rule(NON_LOCAL_NODE_PORTS, f"{_matches(port, port.proxy_port, None)} -m state --state NEW", "-j ACCEPT")


def _matches(port: ProxiedPort, number: int, address: str | None) -> str:
    place = f" -d {address}/32" if address else ""
    return f"-m comment --comment {port.owner} -p {port.protocol} -m {port.protocol} --dport {number}{place}"


def _rule(chain: str, matches: str, target: str) -> RuleLine:
    return RuleLine(chain, f"-A {chain} {matches} {target}")
