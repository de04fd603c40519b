"""When one family is synced: kube-proxy's bounded frequency runner, as a machine that is told the time.

Follows pkg/util/runner (BoundedFrequencyRunner as rewritten in Kubernetes 1.34): a run starts at once when
`min_interval` has passed since the last one finished, else when it has; a failed run is tried again after
`retry_interval`; and whatever happens, one runs each `max_interval`. Changes that come in between are taken
together by the next run.
"""

from __future__ import annotations

FULL_SYNC_PERIOD = 3600.0
"""Seconds: kube-proxy runs, and then fully, at least this often (`proxyutil.FullSyncPeriod`)."""


class Schedule:
    """Seconds throughout, on one clock that never goes back."""

    def __init__(self, min_interval: float, retry_interval: float, max_interval: float = FULL_SYNC_PERIOD) -> None:
        self._min_interval = min_interval
        self._retry_interval = retry_interval
        self._max_interval = max_interval
        self._finished: float | None = None
        self._next: float | None = None

    def ask(self, now: float) -> None:
        """Something changed: run as soon as the minimum interval allows."""
        earliest = now if self._finished is None else max(now, self._finished + self._min_interval)
        self._next = earliest if self._next is None else min(self._next, earliest)

    def due(self, now: float) -> bool:
        """Tell whether a run should start now."""
        return self._next is not None and now >= self._next

    def finished(self, now: float, *, succeeded: bool) -> None:
        """A run has ended at `now`; plan the next one."""
        self._finished = now
        self._next = now + (self._max_interval if succeeded else max(self._retry_interval, self._min_interval))

    @property
    def next_run(self) -> float | None:
        """When the next run is due, or None before anything was asked."""
        return self._next
