"""A packet's story: hops in order, each with what changed, why, and how we know.

`schema` of the JSON that `kplab trace --format json` prints is made from these; see docs/journey.schema.json.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEMA = 1
"""Rises when a field changes its meaning or goes; new fields alone do not raise it."""

Evidence = Literal["seen", "rebuilt", "modelled"]
"""seen: the kernel reported it. rebuilt: worked out from the kernel's own state and events around it.
modelled: our model of the kernel says so, and nothing contradicts it."""

Direction = Literal["request", "reply"]

Kind = Literal[
    "sent", "link", "hook", "chain", "rule", "DNAT", "SNAT", "conntrack", "route",
    "dropped", "rejected", "delivered", "reply", "reverse NAT", "lookup", "IPVS", "socket", "proxy",
]  # fmt: skip


class Flow(msgspec.Struct, frozen=True):
    """A packet's headers as a hop shows them: `src` and `dst` are "10.96.0.42:80", "[fd00::1]:80"."""

    src: str
    dst: str
    proto: str
    mark: int = 0


class Skip(msgspec.Struct, frozen=True):
    """A rule that was tried and did not match, and the first thing in it that did not."""

    rule: str
    reason: str


class CtEntry(msgspec.Struct, frozen=True):
    """The conntrack entry that a hop made, changed or used."""

    id: int | None
    change: Literal["new", "update", "destroy", "used"]
    line: str
    """As `conntrack -L` prints it, verbatim where it was listed there."""
    original: Flow
    reply: Flow
    state: str | None = None


class Lookup(msgspec.Struct, frozen=True):
    """A question put to a map or a set: the key as it was put together, and the element that answered."""

    map: str
    """Its name, like "service-ips", "cilium_lb4_services_v2"; "(anonymous)" for one inside a rule."""
    key: str
    """With its fields named: "ip daddr . meta l4proto . th dport = 10.96.0.42 . tcp . 80"."""
    element: str | None
    """The element that was hit, as the listing prints it; None when there was none."""
    elements: int = 0
    """How many elements it holds; one lookup, however many there are."""


class RealServer(msgspec.Struct, frozen=True):
    """One of a virtual server's real servers, with its counts before and after."""

    address: str
    weight: int
    active_before: int = 0
    active_after: int = 0
    inactive_before: int = 0
    inactive_after: int = 0


class IpvsChoice(msgspec.Struct, frozen=True):
    """What IPVS did: which virtual server was hit, and which real server was chosen."""

    virtual_server: str
    """"TCP 10.96.0.42:80"."""
    scheduler: str
    candidates: tuple[RealServer, ...]
    chosen: str
    connection: str | None = None
    """The connection entry that was made, as `ipvsadm -Lnc` prints it."""
    template: str | None = None
    """The entry by which ClientIP affinity keeps the client's choice, printed likewise; its client's port is 0."""


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a packet."""

    n: int
    """1-based."""
    node: str
    """The namespace that it happens in."""
    kind: Kind
    direction: Direction
    packet: int = 1
    """Which packet of the exchange this is, 1-based; a real client's connection has many."""
    hook: str | None = None
    table: str | None = None
    chain: str | None = None
    rule: str | None = None
    """iptables-save's text of the rule that matched."""
    rule_number: int | None = None
    """1-based, in its chain."""
    tried: int = 0
    """Rules tried in this visit of the chain so far, the matching one included."""
    skipped: tuple[Skip, ...] = ()
    """The rules tried and passed over since the visit's last matching rule."""
    depth: int = 0
    """How many jumps deep, 0 in a base chain."""
    verdict: str | None = None
    """"jump X", "goto X", "accept", "drop", "return", "continue", "policy accept", "reject"."""
    before: Flow
    after: Flow
    evidence: Evidence
    text: str
    """One sentence."""
    interface: str | None = None
    peer: str | None = None
    """For a link: the namespace at its other end."""
    conntrack: CtEntry | None = None
    disagreement: str | None = None
    """Set where model and kernel do not agree; never hidden."""
    stamp: int | None = None
    """Nanoseconds of CLOCK_REALTIME of the event behind it, if there is one."""
    events: tuple[int, ...] = ()
    """`n` of the kernel events behind it."""
    service: str | None = None
    """`ns/name:port` that the rule was written for, read from its comment."""
    lookup: Lookup | None = None
    """For a map, a set or a BPF map that was asked in this hop."""
    ipvs: IpvsChoice | None = None
    """For the hop in which IPVS chose a real server."""


class Journey(msgspec.Struct, frozen=True, kw_only=True):
    """All of a packet's hops, and its reply's."""

    schema: int = SCHEMA
    mode: str
    backend: str = "nft"
    packet: str
    """The expression or the client's request."""
    sender: str
    complete: bool
    """False when events were lost, or the story ends where it should not."""
    incomplete_because: str | None = None
    lost: int
    """How many events were lost; -1 when the kernel did not say how many."""
    outcome: str
    """One sentence: what the sender got."""
    hops: tuple[Hop, ...]
    disagreements: tuple[str, ...] = ()
    packets: int = 1
    """How many packets the exchange had."""
    findings: tuple[str, ...] = ()
    """What a reader should know of the nodes besides: rules left in both of iptables' back-ends at once."""
