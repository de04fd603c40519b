"""The seventeen ipsets of IPVS mode: their names, types, and the comments of the rules that look into them.

Follows pkg/proxy/ipvs/ipset.go and proxier.go of Kubernetes v1.36. All of them always exist, empty or not. The IPv6
ones have a name of their own, cut to the 31 characters that the kernel allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kplab.model.cluster import Family

SetType = Literal["hash:ip", "hash:ip,port", "hash:ip,port,ip", "hash:ip,port,net", "bitmap:port"]

LONGEST_NAME = 31
"""IPSET_MAXNAMELEN of the kernel, less its closing zero."""


@dataclass(frozen=True, slots=True)
class SetKind:
    """One of the seventeen: what both families' sets have in common."""

    name: str
    type: SetType
    comment: str


LOOP_BACK = SetKind(
    "KUBE-LOOP-BACK", "hash:ip,port,ip", "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose"
)
CLUSTER_IP = SetKind("KUBE-CLUSTER-IP", "hash:ip,port", "Kubernetes service cluster ip + port for masquerade purpose")
EXTERNAL_IP = SetKind(
    "KUBE-EXTERNAL-IP", "hash:ip,port", "Kubernetes service external ip + port for masquerade and filter purpose"
)
EXTERNAL_IP_LOCAL = SetKind(
    "KUBE-EXTERNAL-IP-LOCAL",
    "hash:ip,port",
    "Kubernetes service external ip + port with externalTrafficPolicy=local",
)
LOAD_BALANCER = SetKind("KUBE-LOAD-BALANCER", "hash:ip,port", "Kubernetes service lb portal")
LOAD_BALANCER_LOCAL = SetKind(
    "KUBE-LOAD-BALANCER-LOCAL",
    "hash:ip,port",
    "Kubernetes service load balancer ip + port with externalTrafficPolicy=local",
)
LOAD_BALANCER_FW = SetKind(
    "KUBE-LOAD-BALANCER-FW",
    "hash:ip,port",
    "Kubernetes service load balancer ip + port for load balancer with sourceRange",
)
LOAD_BALANCER_SOURCE_CIDR = SetKind(
    "KUBE-LOAD-BALANCER-SOURCE-CIDR",
    "hash:ip,port,net",
    "Kubernetes service load balancer ip + port + source cidr for packet filter purpose",
)
LOAD_BALANCER_SOURCE_IP = SetKind(
    "KUBE-LOAD-BALANCER-SOURCE-IP",
    "hash:ip,port,ip",
    "Kubernetes service load balancer ip + port + source IP for packet filter purpose",
)
NODE_PORT_TCP = SetKind("KUBE-NODE-PORT-TCP", "bitmap:port", "Kubernetes nodeport TCP port for masquerade purpose")
NODE_PORT_LOCAL_TCP = SetKind(
    "KUBE-NODE-PORT-LOCAL-TCP", "bitmap:port", "Kubernetes nodeport TCP port with externalTrafficPolicy=local"
)
NODE_PORT_UDP = SetKind("KUBE-NODE-PORT-UDP", "bitmap:port", "Kubernetes nodeport UDP port for masquerade purpose")
NODE_PORT_LOCAL_UDP = SetKind(
    "KUBE-NODE-PORT-LOCAL-UDP", "bitmap:port", "Kubernetes nodeport UDP port with externalTrafficPolicy=local"
)
NODE_PORT_SCTP = SetKind(
    "KUBE-NODE-PORT-SCTP-HASH",
    "hash:ip,port",
    "Kubernetes nodeport SCTP port for masquerade purpose with type 'hash ip:port'",
)
NODE_PORT_LOCAL_SCTP = SetKind(
    "KUBE-NODE-PORT-LOCAL-SCTP-HASH",
    "hash:ip,port",
    "Kubernetes nodeport SCTP port with externalTrafficPolicy=local with type 'hash ip:port'",
)
HEALTH_CHECK_NODE_PORT = SetKind("KUBE-HEALTH-CHECK-NODE-PORT", "bitmap:port", "Kubernetes health check node port")
IPVS_IPS = SetKind("KUBE-IPVS-IPS", "hash:ip", "Addresses on the ipvs interface")

KINDS = (
    LOOP_BACK, CLUSTER_IP, EXTERNAL_IP, EXTERNAL_IP_LOCAL, LOAD_BALANCER, LOAD_BALANCER_LOCAL, LOAD_BALANCER_FW,
    LOAD_BALANCER_SOURCE_CIDR, LOAD_BALANCER_SOURCE_IP, NODE_PORT_TCP, NODE_PORT_LOCAL_TCP, NODE_PORT_UDP,
    NODE_PORT_LOCAL_UDP, NODE_PORT_SCTP, NODE_PORT_LOCAL_SCTP, HEALTH_CHECK_NODE_PORT, IPVS_IPS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProgramSet:
    """One set and what it is to hold; `entries` are spelled as `ipset add` takes them: "10.96.0.20,tcp:80"."""

    name: str
    type: SetType
    family: Family
    entries: tuple[str, ...]

    @property
    def create(self) -> str:
        """The arguments of `ipset create` that kube-proxy gives."""
        if self.type == "bitmap:port":
            return f"{self.name} {self.type} range 0-65535"
        family = "inet" if self.family == 4 else "inet6"
        return f"{self.name} {self.type} family {family} hashsize 1024 maxelem 65536"


def set_name(kind: SetKind, family: Family) -> str:
    """Return a set's name in one family: "KUBE-CLUSTER-IP", "KUBE-6-CLUSTER-IP"."""
    return kind.name if family == 4 else kind.name.replace("KUBE-", "KUBE-6-", 1)[:LONGEST_NAME]
