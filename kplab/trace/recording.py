"""All that a journey is told from: the question, the machine, the kernel's state, and its events.

A live lab makes one, a `.kptrace` file holds one, a test writes one by hand; from here on all three are the
same.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from kplab.model.packet import SendSpec
from kplab.model.topology import Topology
from kplab.trace.events import KernelEvent

Backend = Literal["nft", "legacy"]


class Facts(msgspec.Struct, frozen=True):
    """The machine and the lab that a recording was made on."""

    kplab: str
    kernel: str
    mode: str
    backend: Backend
    sandbox: str
    iptables: str = ""
    nft: str = ""
    taken_at: str = ""
    """ISO 8601, UTC."""
    rules_of: str = "kube-proxy v1.36"
    """Whose rules these are, for the screen's title."""

    @property
    def written_through(self) -> str:
        """The mode, and where it has one, the iptables that it writes through: "iptables-nft", "nftables"."""
        return self.mode if self.mode in ("nftables", "ebpf") else f"{self.mode}-{self.backend}"


class Save(msgspec.Struct, frozen=True):
    """One `iptables-save` of a node, verbatim but for its comment lines."""

    family: Literal[4, 6]
    backend: Backend
    text: str


class ChainHandles(msgspec.Struct, frozen=True):
    """Handles of an nf_tables chain's rules, in the chain's order: the n-th is the n-th -A line's."""

    family: str
    table: str
    chain: str
    handles: tuple[int, ...]


class NodeState(msgspec.Struct, frozen=True):
    """What a node's kernel held just before the packet was sent."""

    node: str
    saves: tuple[Save, ...] = ()
    handles: tuple[ChainHandles, ...] = ()
    generation: int | None = None
    """nf_tables' generation when it was read."""
    addresses: tuple[str, ...] = ()
    """Every local address without prefix length, loopback included: what addrtype LOCAL means here."""
    routes: tuple[str, ...] = ()
    """`ip route` and `ip -6 route`, a line each."""
    conntrack_before: tuple[str, ...] = ()
    """`conntrack -L -o extended,id` lines, verbatim."""
    conntrack_after: tuple[str, ...] = ()
    ipset: str = ""
    """`ipset save`, if there are sets."""
    recent: tuple[tuple[str, str], ...] = ()
    """/proc/net/xt_recent: (list's name, text), read before the packet."""
    nft: str = ""
    """`nft -a -j list ruleset` of the tables that a proxy mode of nf_tables' own wrote, or empty."""
    ipvs: str = ""
    """`ipvsadm -S -n` before the packet."""
    ipvs_stats: tuple[str, str] = ("", "")
    """`ipvsadm -L -n` before and after."""
    ipvs_connections: tuple[str, str] = ("", "")
    """`ipvsadm -L -n -c` before and after."""
    local_routes: tuple[str, ...] = ()
    """`ip route show table local` and the same with -6, a line each, where IPVS has virtual servers."""
    listening: str = ""
    """`ss -H -tulnp`, where rules redirect to a proxy's ports (userspace mode)."""
    bpf_maps: tuple[tuple[str, str], ...] = ()
    """(map's name, `bpftool -j map dump` text) before the packet."""
    processes: tuple[tuple[str, int], ...] = ()
    """(name, process id) of what serves this node: kube-proxy."""
    lab_chains: tuple[tuple[str, str], ...] = ()
    """(table, chain) pairs that are the lab's own tracing, never shown as kube-proxy's."""


class Recording(msgspec.Struct, frozen=True):
    """One question put to a lab, and everything that the kernel said."""

    facts: Facts
    topology: Topology
    spec: SendSpec
    sender: str
    """The namespace that it was sent from."""
    nodes: tuple[NodeState, ...]
    events: tuple[KernelEvent, ...]
    manifest: str = ""
    """The cluster's YAML, so that a rule can be named after its Service in a replay."""
    note: str = ""
