"""What one family's rules depend on besides Services and endpoints, read once a compilation."""

from __future__ import annotations

from dataclasses import dataclass

from kplab.model.cluster import Cluster, Family
from kplab.model.config import ProxyConfig
from kplab.modes.detect import LocalDetector, local_detector
from kplab.modes.facts import NodeFacts
from kplab.modes.nodeports import NodePortAddresses, node_ip

ZONE_LABEL = "topology.kubernetes.io/zone"
"""The Node label that topology hints are compared with."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One family's settings; two equal ones give the same rules for the same service port."""

    family: Family
    node: str
    zone: str | None
    node_ip: str
    mark: str
    """The masquerade mark as kube-proxy prints it: "0x00004000"."""
    detector: LocalDetector | None
    masquerade_all: bool
    localhost_node_ports: bool
    """As asked for, and possible: IPv4 only, and nodePortAddresses must include 127.0.0.1."""
    nfacct: bool
    large: bool
    """More endpoints than `largeClusterEndpointsThreshold`: their rules carry no comments."""


def read_settings(
    cluster: Cluster, config: ProxyConfig, node: str, family: Family, facts: NodeFacts, addresses: NodePortAddresses,
    *, large: bool,
) -> Settings:  # fmt: skip
    """Return one family's settings."""
    found = cluster.node(node)
    section = config.iptables
    return Settings(
        family=family,
        node=node,
        zone=found.label(ZONE_LABEL) if found else None,
        node_ip=node_ip(cluster, config, node, family, facts),
        mark=f"0x{1 << section.masquerade_bit:08x}",
        detector=local_detector(cluster, config, node, family),
        masquerade_all=section.masquerade_all,
        localhost_node_ports=family == 4 and section.localhost_node_ports and addresses.contains_ipv4_loopback,
        nfacct=facts.nfacct,
        large=large,
    )
