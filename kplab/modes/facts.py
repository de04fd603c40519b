"""What kube-proxy reads from the machine before it compiles: the only inputs that are not Kubernetes objects."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node's machine as kube-proxy sees it at start."""

    addresses: tuple[str, ...] = ()
    """Every local address of both families without prefix length, in the kernel's order, loopback included.
    Used for `nodePortAddresses`."""
    node_ips: tuple[str, ...] = ()
    """The node's own address in each family; empty: the InternalIPs of its Node object."""
    random_fully: bool = True
    """iptables knows `MASQUERADE --random-fully` (1.6.2 and later)."""
    nfacct: bool = True
    """The kernel let kube-proxy make its nfacct counters (CONFIG_NETFILTER_NETLINK_ACCT)."""
    tcp_be_liberal: bool = False
    """`net.netfilter.nf_conntrack_tcp_be_liberal` is set: INVALID packets are then not dropped."""
