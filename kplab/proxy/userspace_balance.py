"""Which endpoint a new connection goes to in userspace mode: each in turn, or the one that the client had before.

After pkg/proxy/userspace/roundrobin.go of Kubernetes v1.25: one turn a service port; a change of endpoints begins
anew; ClientIP affinity is kept by the client's address, and given up when its endpoint could not be reached.
"""

from __future__ import annotations


class RoundRobin:
    """One service port's turn."""

    def __init__(self) -> None:
        self._endpoints: tuple[str, ...] = ()
        self._next = 0
        self._affinity: float | None = None
        self._last: dict[str, tuple[str, float]] = {}

    def update(self, endpoints: tuple[str, ...], affinity_seconds: float | None) -> None:
        """Take in a new state; the turn begins anew when the endpoints changed."""
        self._affinity = affinity_seconds
        if endpoints != self._endpoints:
            self._endpoints, self._next = endpoints, 0
            self._last = {client: kept for client, kept in self._last.items() if kept[0] in endpoints}

    def choose(self, client: str, now: float, *, forget: bool = False) -> str | None:
        """Return the endpoint for a client's address, None without any; `forget` gives up its affinity."""
        if not self._endpoints:
            return None
        if self._affinity is not None and not forget:
            kept = self._last.get(client)
            if kept is not None and now - kept[1] < self._affinity:
                self._last[client] = (kept[0], now)
                return kept[0]
        chosen = self._endpoints[self._next]
        self._next = (self._next + 1) % len(self._endpoints)
        if self._affinity is not None:
            self._last[client] = (chosen, now)
        return chosen
