"""How kube-proxy tells a pod of this cluster from other senders: `--detect-local-mode`.

Follows pkg/proxy/util/localdetector.go and cmd/kube-proxy/app/server_linux.go (getLocalDetectors). Without
a detector kube-proxy simply does not write the rules that would need one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from kplab.model.cluster import Cluster, Family
from kplab.model.config import ProxyConfig
from kplab.modes.names import family_of


@dataclass(frozen=True, slots=True)
class LocalDetector:
    """What matches traffic from local pods, and what matches all other, for iptables and for nft."""

    if_local: str
    """iptables arguments, like "-s 10.244.0.0/16" or "-i cni0"."""
    nft_field: str
    """The left side of an nft match: "ip saddr" or "iifname"."""
    nft_value: str
    """Its right side: "10.244.0.0/16", "cni0" or "veth*"."""

    @property
    def if_not_local(self) -> str:
        """Like "! -s 10.244.0.0/16"."""
        return f"! {self.if_local}"

    @property
    def nft_if_local(self) -> str:
        """Like "ip saddr 10.244.0.0/16"."""
        return f"{self.nft_field} {self.nft_value}"

    @property
    def nft_if_not_local(self) -> str:
        """Like "ip saddr != 10.244.0.0/16"."""
        return f"{self.nft_field} != {self.nft_value}"


def local_detector(cluster: Cluster, config: ProxyConfig, node: str, family: Family) -> LocalDetector | None:
    """Return the detector for one family, or None when nothing says what is local."""
    mode = config.detect_local_mode
    if mode == "ClusterCIDR":
        return _by_cidr(config.cluster_cidr(family))
    if mode == "NodeCIDR":
        found = cluster.node(node)
        cidrs = found.pod_cidrs if found else ()
        return _by_cidr(next((cidr for cidr in cidrs if family_of(cidr) == family), None))
    if mode == "BridgeInterface":
        name = config.detect_local.bridge_interface
        return LocalDetector(f"-i {name}", "iifname", name) if name else None
    if mode == "InterfaceNamePrefix":
        prefix = config.detect_local.interface_name_prefix
        return LocalDetector(f"-i {prefix}+", "iifname", f"{prefix}*") if prefix else None
    assert_never(mode)


def _by_cidr(cidr: str | None) -> LocalDetector | None:
    if not cidr:
        return None
    return LocalDetector(f"-s {cidr}", "ip saddr" if family_of(cidr) == 4 else "ip6 saddr", cidr)
