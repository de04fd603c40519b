"""Whether the proxy keeps up, and what it answers to those who ask.

Follows pkg/proxy/healthcheck: a family is healthy as long as no change has waited for longer than twice the
syncPeriod. `/healthz` would also say 503 where the Node is being deleted; a manifest's Nodes never are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock

from kplab.model.cluster import Cluster, Family
from kplab.modes.endpoints import join_slices
from kplab.modes.services import service_ports


class Health:
    """Asked by the servers' threads, told by the loop."""

    def __init__(self, timeout: float, clock: Callable[[], float]) -> None:
        """`timeout` and `clock` in seconds; the clock is the wall's, for it is shown."""
        self._timeout = timeout
        self._clock = clock
        self._lock = Lock()
        self._waiting_since: dict[Family, float] = {}
        self._updated = clock()

    def queued(self, family: Family) -> None:
        """A change waits to be synced."""
        with self._lock:
            self._waiting_since.setdefault(family, self._clock())

    def updated(self, family: Family) -> None:
        """A family has been synced."""
        with self._lock:
            self._waiting_since.pop(family, None)
            self._updated = self._clock()

    def healthy(self) -> bool:
        """Tell whether no change has waited for too long."""
        with self._lock:
            return all(self._clock() - since <= self._timeout for since in self._waiting_since.values())

    def answer(self, *, eligible: bool) -> tuple[int, str]:
        """Return status and body of `/healthz` (with `eligible`) or `/livez`."""
        healthy, now = self.healthy(), self._clock()
        body = {"lastUpdated": _stamp(now if healthy else self._updated), "currentTime": _stamp(now)}
        return 200 if healthy else 503, json.dumps({**body, "nodeEligible": True} if eligible else body)


@dataclass(frozen=True, slots=True)
class CheckedService:
    """A Service with a healthCheckNodePort: its answer says how many endpoints this node has for it."""

    namespace: str
    name: str
    port: int
    family: Family
    local_endpoints: int

    def answer(self, *, healthy: bool) -> tuple[int, str]:
        """Return status and body of the healthCheckNodePort."""
        body = {
            "service": {"namespace": self.namespace, "name": self.name},
            "localEndpoints": self.local_endpoints,
            "serviceProxyHealthy": healthy,
        }
        return 200 if self.local_endpoints and healthy else 503, json.dumps(body)


def checked_services(cluster: Cluster, family: Family, node: str) -> dict[int, CheckedService]:
    """Return the Services that have a healthCheckNodePort in one family, by that port.

    Counted are the addresses of ready endpoints on this node, each once whatever ports it has.
    """
    views = [view for view in service_ports(cluster, family) if view.health_check_node_port]
    endpoints = join_slices(cluster.endpoint_slices, family, node) if views else {}
    found: dict[int, CheckedService] = {}
    addresses: dict[int, set[str]] = {}
    for view in views:
        port = view.health_check_node_port or 0
        ready = addresses.setdefault(port, set())
        ready |= {e.ip for e in endpoints.get(view.key, ()) if e.local and e.ready}
        found[port] = CheckedService(view.key.namespace, view.key.service, port, family, len(ready))
    return found


def _stamp(seconds: float) -> str:
    """Return a time as Go prints it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC")
