"""What the kernel said, one typed record an event.

`capture` decodes them, `protocol` carries them, `correlate` and `journey` read them; nothing here knows how
they were got. The union `What` is closed: a function that takes it apart ends in `assert_never`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Hook = Literal["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]


class Tuple(msgspec.Struct, frozen=True):
    """One direction of a conntrack entry. For ICMP the ports are None and `icmp` is (type, code, id)."""

    src: str
    dst: str
    proto: str
    sport: int | None = None
    dport: int | None = None
    icmp: tuple[int, int, int] | None = None


class NftTrace(msgspec.Struct, frozen=True, tag="nft-trace"):
    """One message of nf_tables' trace (linux/netfilter/nf_tables.h, enum nft_trace_attributes)."""

    trace_id: int
    """Repeats: it is derived from the skb's address."""
    family: str
    """The table's family: "ip", "ip6" or "inet"."""
    table: str
    chain: str
    kind: Literal["rule", "return", "policy"]
    verdict: str
    """"accept", "drop", "continue", "return", "jump X", "goto X", "queue"; for a policy, the policy."""
    handle: int | None = None
    """The rule's handle; None for a return or a policy."""
    mark: int = 0
    iif: str | None = None
    oif: str | None = None
    packet: bytes = b""
    """Network and transport header: only in a packet's first message in each base chain."""
    ct_id: int | None = None
    ct_direction: Literal["original", "reply"] | None = None
    ct_state: str | None = None
    """"new", "established", "related", "invalid", "untracked" (kernels from 6.16)."""
    ct_status: int | None = None
    """IPS_* bits (linux/netfilter/nf_conntrack_common.h)."""


class LegacyTrace(msgspec.Struct, frozen=True, tag="legacy-trace"):
    """One line of iptables-legacy's TRACE, got over NFLOG: `TRACE: nat:KUBE-SERVICES:rule:1`."""

    family: str
    table: str
    chain: str
    kind: Literal["rule", "return", "policy"]
    number: int
    """1-based, as in `iptables -L --line-numbers`."""
    hook: Hook
    mark: int = 0
    iif: str | None = None
    oif: str | None = None
    packet: bytes = b""


class CtChange(msgspec.Struct, frozen=True, tag="conntrack"):
    """A conntrack event (NFNLGRP_CONNTRACK_NEW, _UPDATE, _DESTROY)."""

    change: Literal["new", "update", "destroy"]
    id: int
    original: Tuple
    reply: Tuple
    status: int = 0
    state: str | None = None
    """TCP's state in conntrack's words: "SYN_SENT", "ESTABLISHED"."""
    timeout: int | None = None
    """Seconds."""
    mark: int = 0


class FrameSeen(msgspec.Struct, frozen=True, tag="frame"):
    """A frame on a link, seen by AF_PACKET in the namespace at one end of it."""

    interface: str
    direction: Literal["in", "out"]
    packet: bytes
    """From the network header on, at most the snap length."""
    protocol: int = 0x0800
    """The Ethernet type."""
    source_mac: str = ""
    destination_mac: str = ""


class Sent(msgspec.Struct, frozen=True, tag="sent"):
    """The lab handed a packet (or a client's first call) to the kernel in this namespace."""

    packet: bytes = b""
    """Empty for a real client: the kernel made the packet."""
    note: str = ""
    error: str = ""
    """The errno's name and text when the kernel refused it, like "EPERM: Operation not permitted"."""


class ClientDone(msgspec.Struct, frozen=True, tag="client-done"):
    """A real client ended."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str
    local: str = ""
    """The client's own "address:port", if known."""


class Served(msgspec.Struct, frozen=True, tag="served"):
    """A pod's server took a connection or a datagram, and says whom it saw."""

    protocol: Literal["TCP", "UDP"]
    local: str
    peer: str
    note: str = ""


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """Events were lost between the kernel and us (ENOBUFS, a ring overrun)."""

    source: str
    count: int
    """How many; -1 when the kernel does not say."""


class RulesetChanged(msgspec.Struct, frozen=True, tag="ruleset"):
    """The node's ruleset has a new generation; who changed it, if the kernel says."""

    generation: int
    pid: int | None = None
    program: str | None = None


class SocketCall(msgspec.Struct, frozen=True, tag="socket-call"):
    """A BPF program on a socket call, as it reported it: what was asked, what it found, what it made of it."""

    call: Literal["connect", "getpeername", "sendmsg", "recvmsg"]
    pid: int
    program: str
    protocol: Literal["TCP", "UDP"]
    asked: str
    """"10.96.0.42:80": the address before."""
    answered: str
    """The address after; the same when nothing was translated."""
    cookie: int = 0
    lookups: tuple[tuple[str, str, str], ...] = ()
    """(map, key, value) in the order in which they were made; a value "" was not found."""
    stored: tuple[tuple[str, str, str], ...] = ()
    """(map, key, value) that the program wrote."""


class Proxied(msgspec.Struct, frozen=True, tag="proxied"):
    """The userspace proxy took a connection (or datagram), and opened one of its own to an endpoint."""

    protocol: Literal["TCP", "UDP"]
    pid: int
    service: str
    accepted_from: str
    accepted_on: str
    dialled_from: str
    dialled_to: str


class IpvsConnection(msgspec.Struct, frozen=True, tag="ipvs-connection"):
    """IPVS made a connection entry for the real server that its scheduler chose (a kprobe on ip_vs_conn_new)."""

    protocol: Literal["TCP", "UDP", "SCTP"]
    client: str
    """"10.244.1.5:40000", "[fd00::1]:40000"; of a template the port is 0."""
    virtual: str
    destination: str
    template: bool = False
    """Whether it is the entry by which ClientIP affinity keeps a client's choice, and no connection's own."""


What = (
    IpvsConnection
    | SocketCall
    | Proxied
    | NftTrace
    | LegacyTrace
    | CtChange
    | FrameSeen
    | Sent
    | ClientDone
    | Served
    | Lost
    | RulesetChanged
)


class KernelEvent(msgspec.Struct, frozen=True):
    """One event: when, where, what."""

    n: int
    """The agent's own count. It rises with the time at which the agent read the event, which between two
    sources need not be the order in which things happened."""
    stamp: int
    """Nanoseconds of CLOCK_REALTIME: the kernel's own stamp where it gives one, else the time of reading."""
    node: str
    """The namespace's name."""
    what: What
