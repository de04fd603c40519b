"""What one family's nftables rules depend on besides Services and endpoints, read once a compilation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address

from kplab.model.cluster import Cluster, Family
from kplab.model.config import PRIMARY, ProxyConfig
from kplab.modes.detect import LocalDetector, local_detector
from kplab.modes.facts import NodeFacts
from kplab.modes.iptables_settings import ZONE_LABEL
from kplab.modes.nodeports import node_ip, node_port_addresses


@dataclass(frozen=True, slots=True)
class NftSettings:
    """One family's settings; two equal ones give the same fixed part, and the same chains for the same Service."""

    family: Family
    node: str
    zone: str | None
    node_ip: str
    mark: str
    """The masquerade mark as kube-proxy prints it: "0x00004000"."""
    detector: LocalDetector | None
    masquerade_all: bool
    node_port_ips: tuple[str, ...] | None
    """The node's addresses that answer for NodePorts; None: every local one but loopback."""

    @property
    def ip(self) -> str:
        """The word for the header: "ip" or "ip6"."""
        return "ip" if self.family == 4 else "ip6"

    @property
    def address_type(self) -> str:
        """The type of an address: "ipv4_addr" or "ipv6_addr"."""
        return "ipv4_addr" if self.family == 4 else "ipv6_addr"


def read_nft_settings(
    cluster: Cluster, config: ProxyConfig, node: str, family: Family, facts: NodeFacts
) -> NftSettings:
    """Return one family's settings.

    In this mode no `nodePortAddresses` means "primary" (cmd/kube-proxy/app/options.go), and loopback never
    answers, whatever is asked for.
    """
    found = cluster.node(node)
    asked = config if config.node_port_addresses else replace(config, node_port_addresses=(PRIMARY,))
    addresses = node_port_addresses(cluster, asked, node, family, facts)
    mine = tuple(ip for ip in addresses.among(facts.addresses) if not ip_address(ip).is_loopback)
    section = config.nftables
    return NftSettings(
        family=family,
        node=node,
        zone=found.label(ZONE_LABEL) if found else None,
        node_ip=node_ip(cluster, config, node, family, facts),
        mark=f"0x{1 << section.masquerade_bit:08x}",
        detector=local_detector(cluster, config, node, family),
        masquerade_all=section.masquerade_all,
        node_port_ips=None if addresses.match_all else mine,
    )
