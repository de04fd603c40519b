"""What the loop tells those who ask about the proxy: its health, its metrics, the cluster that holds."""

from __future__ import annotations

from collections.abc import Callable

from kplab.model.cluster import Cluster, Family
from kplab.proxy.health import Health
from kplab.proxy.metrics import Metrics
from kplab.proxy.proxier import SyncOutcome


class Status:
    """Kept from the first sync on; the servers, which are slow to load, come after it."""

    def __init__(self, sync_period: float, clock: Callable[[], float], mode: str = "iptables") -> None:
        """`clock` is the wall's. Health is lost when a change waits for more than two sync periods."""
        self.health = Health(2 * sync_period, clock)
        self.metrics = Metrics(clock, mode)
        self.cluster = Cluster()
        self.follow: Callable[[Cluster], None] = lambda cluster: None
        """Called with each new cluster."""

    def observed(self, cluster: Cluster) -> None:
        """A new manifest holds."""
        self.cluster = cluster
        self.follow(cluster)

    def queued(self, family: Family) -> None:
        """A change waits to be synced."""
        self.health.queued(family)
        self.metrics.queued(family)

    def synced(self, outcome: SyncOutcome) -> None:
        """A family was synced, or failed to."""
        self.metrics.synced(outcome)
        if outcome.error is None:
            self.health.updated(outcome.family)

    def forgot(self, family: Family, flows: int) -> None:
        """Stale UDP flows were deleted."""
        self.metrics.forgot(family, flows)
