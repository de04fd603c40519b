"""On which addresses of the node NodePorts are answered: `nodePortAddresses`.

Follows pkg/proxy/util/nodeport_addresses.go: the CIDRs of one family; none of that family means all.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from kplab.model.cluster import Cluster, Family
from kplab.model.config import PRIMARY, ProxyConfig
from kplab.modes.facts import NodeFacts
from kplab.modes.names import family_of

_LOCALHOST = ip_address("127.0.0.1")
_UNKNOWN: dict[Family, str] = {4: "127.0.0.1", 6: "::1"}


@dataclass(frozen=True, slots=True)
class NodePortAddresses:
    """One family's share of `nodePortAddresses`."""

    networks: tuple[IPv4Network | IPv6Network, ...]

    @property
    def match_all(self) -> bool:
        """Every local address answers."""
        return any(network.prefixlen == 0 for network in self.networks)

    @property
    def contains_ipv4_loopback(self) -> bool:
        """127.0.0.1 answers; without that, kube-proxy acts as if localhostNodePorts were false."""
        return any(
            network.version == 4 and (network.network_address.is_loopback or _LOCALHOST in network)
            for network in self.networks
        )

    def among(self, addresses: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the node's addresses that answer, in the order given, each once."""
        chosen = dict.fromkeys(a for a in addresses if any(ip_address(a) in network for network in self.networks))
        return tuple(chosen)


def node_port_addresses(
    cluster: Cluster, config: ProxyConfig, node: str, family: Family, facts: NodeFacts
) -> NodePortAddresses:
    """Return one family's share of `nodePortAddresses`; "primary" stands for the node's own address."""
    cidrs = config.node_port_addresses
    if cidrs == (PRIMARY,):
        ip = node_ip(cluster, config, node, family, facts)
        cidrs = () if ip in _UNKNOWN.values() else (ip,)
    mine = [cidr for cidr in cidrs if family_of(cidr) == family]
    networks = tuple(ip_network(cidr, strict=False) for cidr in mine or ["0.0.0.0/0" if family == 4 else "::/0"])
    return NodePortAddresses(networks)


def node_ip(cluster: Cluster, config: ProxyConfig, node: str, family: Family, facts: NodeFacts) -> str:
    """Return the node's own address in one family, as kube-proxy finds it.

    `bindAddress` when it names one, else the first of the facts' or of the Node's InternalIPs, else loopback.
    """
    bound = config.bind_address
    if family_of(bound) == family and not ip_address(bound).is_unspecified:
        return bound
    found = cluster.node(node)
    addresses = facts.node_ips or (found.internal_ips if found else ())
    return next((a for a in addresses if family_of(a) == family), _UNKNOWN[family])
