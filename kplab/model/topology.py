"""The lab as it is drawn: namespaces, the links between them, and their routes.

These cross the wire to the agent and are kept in recorded traces, so they are msgspec structs (frozen,
like our dataclasses, with a codec). See docs/architecture.md, "Two kinds of record".
"""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["pod", "node", "outside", "underlay", "control-plane"]


class Listener(msgspec.Struct, frozen=True):
    """A server in a namespace: what it speaks and where it listens."""

    protocol: Literal["TCP", "UDP"]
    port: int
    kind: Literal["http", "tcp-echo", "udp-echo"]


class Interface(msgspec.Struct, frozen=True):
    """One interface of a namespace; `addresses` are "10.244.1.5/24" and the like."""

    name: str
    addresses: tuple[str, ...] = ()


class Route(msgspec.Struct, frozen=True):
    """One route; `via` is None for a destination on the link, `table` "local" for a prefix answered here."""

    destination: str
    device: str
    via: str | None = None
    table: Literal["main", "local"] = "main"
    source: str | None = None
    """The source address that the kernel prefers on this route (`src` of `ip route`)."""


class Namespace(msgspec.Struct, frozen=True):
    """A network namespace of the lab."""

    name: str
    """Short and unique: "client", "web-1", "node-a", "outside". What the student types."""
    role: Role
    node: str | None = None
    """For a pod: the namespace of the node that it runs on."""
    kubernetes_name: str | None = None
    """For a pod: `namespace/name`."""
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    listeners: tuple[Listener, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    """Written in the namespace when it is made, like ("net.ipv4.ip_forward", "1")."""

    def addresses(self) -> tuple[str, ...]:
        """Every address without its prefix length, in order, loopback left out."""
        return tuple(a.split("/")[0] for i in self.interfaces if i.name != "lo" for a in i.addresses)


class End(msgspec.Struct, frozen=True):
    """One end of a link."""

    namespace: str
    interface: str


class Link(msgspec.Struct, frozen=True):
    """A veth pair; in the underlay the end is a port of its bridge."""

    a: End
    b: End


class Topology(msgspec.Struct, frozen=True):
    """All of a lab's namespaces and links."""

    namespaces: tuple[Namespace, ...]
    links: tuple[Link, ...]

    def namespace(self, name: str) -> Namespace | None:
        """Return the namespace of that name, or None."""
        return next((ns for ns in self.namespaces if ns.name == name), None)

    def peer(self, end: End) -> End | None:
        """Return the other end of the link at `end`, or None."""
        for link in self.links:
            if link.a == end:
                return link.b
            if link.b == end:
                return link.a
        return None
