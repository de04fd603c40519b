"""A node's routes, as `ip route` printed them, and which of them a destination takes.

The kernel's trace does not name the route, only (in later hooks) the interface that came of it; so the line is
rebuilt here, and checked against that interface by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import pairwise

_REFUSING = frozenset({"unreachable", "blackhole", "prohibit", "throw"})


@dataclass(frozen=True, slots=True)
class Route:
    """One line, taken apart."""

    line: str
    network: IPv4Network | IPv6Network
    device: str | None
    via: str | None
    kind: str
    """"unicast", "local", or one that refuses: "unreachable", "blackhole", "prohibit", "throw"."""
    metric: int = 0


def choose_route(lines: tuple[str, ...], destination: str) -> Route | None:
    """Return the route with the longest prefix (then the lowest metric) that holds the destination, or None."""
    address = ip_address(destination)
    fitting = [
        route for route in _parsed(lines) if address.version == route.network.version and address in route.network
    ]
    return min(fitting, key=lambda route: (-route.network.prefixlen, route.metric), default=None)


@lru_cache(maxsize=32)
def _parsed(lines: tuple[str, ...]) -> tuple[Route, ...]:
    six = any(":" in line.split(" ", 1)[0] for line in lines)
    return tuple(route for route in (_read(line, six=six) for line in _whole(lines)) if route is not None)


def _whole(lines: Iterable[str]) -> list[str]:
    """Join the indented lines of a route with several next hops to its first."""
    joined: list[str] = []
    for line in lines:
        if line[:1].isspace() and joined:
            joined[-1] += " " + line.strip()
        elif line.strip():
            joined.append(line.strip())
    return joined


def _read(line: str, *, six: bool) -> Route | None:
    words = line.split()
    kind = (
        words.pop(0) if words[0] in _REFUSING | {"unicast", "local", "broadcast", "multicast", "anycast"} else "unicast"
    )
    if kind in ("broadcast", "multicast", "anycast") or not words:
        return None
    options = dict(pairwise(words[1:]))
    device, via = options.get("dev"), options.get("via")
    if via == "inet6":
        via = words[words.index("inet6") + 1]
    text = words[0]
    if text == "default":
        # `ip -6 route` prints its default without a family; its next hop or its metric tells it apart.
        text = "::/0" if ":" in (via or "") or (via is None and six and "pref" in words) else "0.0.0.0/0"
    try:
        network = ip_network(text)
    except ValueError:
        return None
    metric = options.get("metric", "0")
    return Route(line, network, device, via, kind, int(metric) if metric.isdigit() else 0)
