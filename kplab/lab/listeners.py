"""Which port speaks what: from a Pod's containerPorts, or an EndpointSlice's ports. Pure.

UDP echoes what it gets. TCP echoes when the port's name has "echo" or "dns" in it; otherwise it speaks HTTP
(plain, whatever the port is called: a lab has no certificates). SCTP has no server.
"""

from __future__ import annotations

from collections.abc import Iterable

from kplab.model.cluster import EndpointSlice, Pod, Protocol
from kplab.model.topology import Listener

ECHO_NAMES = ("echo", "dns")


def listener(port: int, protocol: Protocol, name: str) -> Listener | None:
    """Return the server for one port, or None for SCTP."""
    if protocol == "UDP":
        return Listener("UDP", port, "udp-echo")
    if protocol == "TCP":
        return Listener("TCP", port, "tcp-echo" if any(word in name for word in ECHO_NAMES) else "http")
    return None


def pod_listeners(pod: Pod) -> tuple[Listener, ...]:
    """Return the servers of a pod's container ports."""
    found = (listener(each.port, each.protocol, each.name) for each in pod.ports)
    return distinct(each for each in found if each)


def slice_listeners(slice_: EndpointSlice) -> tuple[Listener, ...]:
    """Return the servers that a slice's endpoints must have for its Service to answer."""
    found = (listener(each.port, each.protocol, each.name or "") for each in slice_.ports if each.port)
    return distinct(each for each in found if each)


def distinct(listeners: Iterable[Listener]) -> tuple[Listener, ...]:
    """Return listeners in order of protocol and port, one for each such pair: only one can be bound."""
    kept: dict[tuple[str, int], Listener] = {}
    for each in listeners:
        kept.setdefault((each.protocol, each.port), each)
    return tuple(kept[key] for key in sorted(kept))
