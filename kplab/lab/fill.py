"""Fills in what a packet's question leaves open, so that each send is a new connection. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kplab.errors import UsageError
from kplab.model.layers import NETWORK_LAYERS, TRANSPORT_LAYERS
from kplab.model.packet import Literalish, Octets, PacketSpec

LayerFields = tuple[str, dict[str, Any]]
"""A layer by scapy's name, and its fields."""

NOWHERE = {"IP": "127.0.0.1", "IPv6": "::1"}
"""scapy's own default for `dst`."""


def fill(
    spec: PacketSpec, source_for: Callable[[str], str], fresh_port: Callable[[], int], number: Callable[[int], int]
) -> list[LayerFields]:
    """Return a spec's layers with source address, source port, TCP sequence, IP id and echo id filled in.

    `source_for` gives the kernel's choice of a source address for a destination, `fresh_port` a port that was
    not used yet, `number(bits)` a random number above 0. What was given is left as it was given. Only the outer
    network layer and the first layer in it are filled: a packet quoted in an ICMP error stays as it is.

    Raises:
        UsageError: the first layer is not IP or IPv6.
    """
    layers = [(layer.name, {f.name: _plain(f.value) for f in layer.fields}) for layer in spec.layers]
    if not layers or layers[0][0] not in NETWORK_LAYERS:
        raise UsageError(
            f"send {spec.expression}", "a packet begins with its network layer", "begin with IP(…) or IPv6(…)"
        )
    name, network = layers[0]
    network.setdefault("dst", NOWHERE[name])
    if "src" not in network:
        network["src"] = source_for(network["dst"])
    if name == "IP":
        # 0 would have the kernel choose one for raw sockets, and the packet seen on the wire would be another one.
        network.setdefault("id", number(16))
    for inner, fields in layers[1:]:
        if inner in NETWORK_LAYERS:
            break
        if inner in TRANSPORT_LAYERS:
            _fill_transport(inner, fields, fresh_port, number)
    return layers


def source_port(layers: list[LayerFields]) -> int | None:
    """Return the TCP or UDP source port of a filled packet, or None when it has none."""
    for name, fields in layers[1:]:
        if name in ("TCP", "UDP"):
            return int(fields["sport"])
        if name in NETWORK_LAYERS:
            break
    return None


def _fill_transport(
    name: str, fields: dict[str, Any], fresh_port: Callable[[], int], number: Callable[[int], int]
) -> None:
    if name in ("TCP", "UDP") and "sport" not in fields:
        fields["sport"] = fresh_port()
    if name == "TCP":
        fields.setdefault("seq", number(32))
    if name in ("ICMP", "ICMPv6EchoRequest") and fields.get("type", 8) in (8, 128):
        fields.setdefault("id", number(16))


def _plain(value: Literalish) -> Any:
    """The value as scapy takes it."""
    if isinstance(value, Octets):
        return value.data
    if isinstance(value, list):
        return [_plain(_octets(each)) for each in value]
    return value


def _octets(value: Any) -> Any:
    """Inside a list the wire has no types: bytes come back as the mapping that stood for them."""
    if isinstance(value, dict) and value.get("type") == "bytes":
        return Octets(value["data"])
    return value
