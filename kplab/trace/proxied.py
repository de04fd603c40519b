"""Which connections a kube-proxy in userspace mode tied together: the ends of both, as packets show them."""

from __future__ import annotations

from kplab.trace.events import Proxied
from kplab.trace.identity import Ends


def accepts(proxied: Proxied, ends: Ends) -> bool:
    """Say whether a packet with these ends is of the connection that it took.

    The address that a datagram came to is not asked: kube-proxy's socket is bound to none, and reports 0.0.0.0.
    """
    proto, src, sport, _, dport = ends
    return (proto, src, sport, dport) == (
        proxied.protocol.lower(),
        *parts(proxied.accepted_from),
        parts(proxied.accepted_on)[1],
    )


def dialled_ends(proxied: Proxied) -> Ends:
    """Return the ends of the connection that it opened."""
    return (proxied.protocol.lower(), *parts(proxied.dialled_from), *parts(proxied.dialled_to))


def parts(address: str) -> tuple[str, int]:
    """Return the host and the port of "10.244.1.10:8080"."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
