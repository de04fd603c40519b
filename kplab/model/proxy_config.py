"""KubeProxyConfiguration v1alpha1 as values, with kube-proxy's own defaults.

Field names are those of `kubeproxy.config.k8s.io/v1alpha1` in Python's spelling; durations are seconds.
What changes rules in a mode is here; fields that a real file may hold and that change nothing in a lab are
known to the parser (`config.py`) and not kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kplab.model.cluster import Family

Mode = Literal["iptables", "ipvs", "nftables", "userspace", "ebpf"]
DetectLocalMode = Literal["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"]

PRIMARY = "primary"
"""The one word that `nodePortAddresses` may hold in place of CIDRs: the node's primary addresses."""


@dataclass(frozen=True, slots=True)
class DetectLocal:
    """`detectLocal`: what the modes BridgeInterface and InterfaceNamePrefix look at."""

    bridge_interface: str = ""
    interface_name_prefix: str = ""


@dataclass(frozen=True, slots=True)
class IptablesConfig:
    """The section `iptables`."""

    masquerade_bit: int = 14
    masquerade_all: bool = False
    localhost_node_ports: bool = True
    sync_period: float = 30.0
    min_sync_period: float = 1.0


@dataclass(frozen=True, slots=True)
class NftablesConfig:
    """The section `nftables`."""

    masquerade_bit: int = 14
    masquerade_all: bool = False
    sync_period: float = 30.0
    min_sync_period: float = 1.0


@dataclass(frozen=True, slots=True)
class IpvsConfig:
    """The section `ipvs`. A timeout of 0 keeps the kernel's."""

    scheduler: str = "rr"
    strict_arp: bool = False
    exclude_cidrs: tuple[str, ...] = ()
    tcp_timeout: float = 0.0
    tcp_fin_timeout: float = 0.0
    udp_timeout: float = 0.0
    sync_period: float = 30.0
    min_sync_period: float = 1.0


@dataclass(frozen=True, slots=True)
class ConntrackConfig:
    """The section `conntrack`; only `tcpBeLiberal` changes rules (it drops the rule for INVALID packets)."""

    max_per_core: int = 32768
    min: int = 131072
    tcp_established_timeout: float = 86400.0
    tcp_close_wait_timeout: float = 3600.0
    tcp_be_liberal: bool = False
    udp_timeout: float = 0.0
    udp_stream_timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """A KubeProxyConfiguration; `ProxyConfig()` is what kube-proxy does when it is told nothing."""

    mode: Mode = "iptables"
    cluster_cidrs: tuple[str, ...] = ()
    """`clusterCIDR`, split at its comma: at most one of each family."""
    detect_local_mode: DetectLocalMode = "ClusterCIDR"
    detect_local: DetectLocal = field(default_factory=DetectLocal)
    hostname_override: str = ""
    bind_address: str = "0.0.0.0"  # noqa: S104 kube-proxy's default; here it only picks the node's address
    node_port_addresses: tuple[str, ...] = ()
    """CIDRs of both families, or ("primary",)."""
    iptables: IptablesConfig = field(default_factory=IptablesConfig)
    nftables: NftablesConfig = field(default_factory=NftablesConfig)
    ipvs: IpvsConfig = field(default_factory=IpvsConfig)
    conntrack: ConntrackConfig = field(default_factory=ConntrackConfig)
    feature_gates: tuple[tuple[str, bool], ...] = ()
    healthz_bind_address: str = "0.0.0.0:10256"
    metrics_bind_address: str = "127.0.0.1:10249"

    def cluster_cidr(self, family: Family) -> str | None:
        """Return the cluster's CIDR in one family, or None."""
        return next((cidr for cidr in self.cluster_cidrs if (":" in cidr) == (family == 6)), None)

    def gate(self, name: str, default: bool) -> bool:
        """Return a feature gate's value, or `default` where the file does not set it."""
        return dict(self.feature_gates).get(name, default)
