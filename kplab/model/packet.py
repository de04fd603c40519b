"""A packet: what a student asks for, and what headers say.

`PacketSpec` is what was parsed out of an expression such as `IP(dst="10.96.0.42")/TCP(dport=80)`; the
agent builds scapy layers from it by name. `Headers` is what we read of a packet's bytes.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Octets(msgspec.Struct, frozen=True, tag="bytes"):
    """A bytes literal; a struct of its own, so that it stays apart from text on the wire."""

    data: bytes


Literalish = int | float | str | bool | None | Octets | list[Any]
"""The values that a packet expression may hold: literals, and lists of them (tuples arrive as lists)."""

Client = Literal["scapy", "curl", "tcp", "udp"]


class Field(msgspec.Struct, frozen=True):
    """One keyword of a layer: `dst="10.96.0.42"`."""

    name: str
    value: Literalish


class Layer(msgspec.Struct, frozen=True):
    """One layer by scapy's own name, with the fields that were given."""

    name: str
    fields: tuple[Field, ...] = ()

    def get(self, name: str) -> Literalish:
        """Return a field's value, or None when it was not given."""
        return next((f.value for f in self.fields if f.name == name), None)


class PacketSpec(msgspec.Struct, frozen=True, tag="packet"):
    """A packet as it was asked for. What is not given, the lab fills in (source, source port, sequence)."""

    expression: str
    layers: tuple[Layer, ...]

    def layer(self, *names: str) -> Layer | None:
        """Return the first layer with one of these names, or None."""
        return next((layer for layer in self.layers if layer.name in names), None)


class ClientSpec(msgspec.Struct, frozen=True, tag="client"):
    """A real client's exchange: curl to a URL, or a TCP or UDP exchange with `host:port`."""

    client: Literal["curl", "tcp", "udp"]
    target: str
    """A URL for curl, "10.96.0.42:80" or "[fd00::1]:80" for the others."""
    payload: str = "hello from kplab\n"
    source_port: int | None = None


SendSpec = PacketSpec | ClientSpec


class Headers(msgspec.Struct, frozen=True):
    """What a packet's bytes say, from the network layer up. A field that its protocol lacks is None."""

    family: Literal[4, 6]
    src: str
    dst: str
    proto: str
    """"tcp", "udp", "icmp", "icmpv6", "sctp", or the protocol's number in decimal."""
    sport: int | None = None
    dport: int | None = None
    flags: str | None = None
    """TCP flags in scapy's letters, in the order FSRPAUEC: "S", "SA", "FA"."""
    seq: int | None = None
    ack: int | None = None
    ttl: int = 0
    ip_id: int = 0
    length: int = 0
    """Length of the whole packet, from its own header, in bytes."""
    icmp_type: int | None = None
    icmp_code: int | None = None
    icmp_id: int | None = None
    icmp_seq: int | None = None
    inner: Headers | None = None
    """For an ICMP error: the headers of the packet that it complains of."""
    fragment: bool = False
    """A fragment other than the first: it has no ports."""
