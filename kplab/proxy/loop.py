"""The proxy's one loop: wait for the manifest, a timer or a signal; read; sync what is due; report."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kplab.errors import KplabError, ManifestError
from kplab.model.cluster import Cluster, Family
from kplab.proxy.proxier import Proxier, SyncOutcome
from kplab.proxy.report import Reporter
from kplab.proxy.watch import ManifestWatch

Clock = Callable[[], float]


class Observer(Protocol):
    """Told what the loop does; the health and metrics servers are."""

    def observed(self, cluster: Cluster) -> None:
        """A new manifest holds."""
        ...

    def queued(self, family: Family) -> None:
        """A change waits to be synced."""
        ...

    def synced(self, outcome: SyncOutcome) -> None:
        """A family was synced, or failed to."""
        ...

    def forgot(self, family: Family, flows: int) -> None:
        """Stale UDP flows were deleted."""
        ...


class Watcher(Protocol):
    """Something of a mode's own that is looked at now and then, besides changes; a canary is one."""

    @property
    def next_look(self) -> float | None:
        """When `look` has something to do; None: at once."""
        ...

    def look(self, now: float) -> bool:
        """Do what is due; tell whether everything must be written anew."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What the loop is made of."""

    watch: ManifestWatch
    parse: Callable[[str], Cluster]
    proxiers: Sequence[Proxier]
    canaries: Sequence[Watcher]
    """One for each proxier, in the same order; none in a mode that has no canaries."""
    reporter: Reporter
    forget_flows: Callable[[Cluster, Family], int]
    """Delete stale UDP flows, and tell how many there were."""
    clock: Clock
    observers: Sequence[Observer] = ()


class Loop:
    """Runs until it is told to stop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._cluster: Cluster | None = None
        self._mtime_ns = 0
        self._unreported: list[SyncOutcome] = []

    def first(self) -> list[SyncOutcome]:
        """Read the manifest and sync everything once.

        Raises:
            ManifestError: the manifest cannot be used: there is no last good state to stay with.

        """
        read = self._parts.watch.read()
        self._take(self._parts.parse(read.text), read.mtime_ns)
        self._look_at_canaries()
        return self._sync_due()

    def run(self, stop_fd: int, at_rest: Callable[[], object] = lambda: None) -> None:
        """Watch and sync until `stop_fd` becomes readable.

        `at_rest` is called once whenever something was done and then nothing more came for a while.
        """
        poll = select.poll()
        poll.register(stop_fd, select.POLLIN)
        if self._parts.watch.fileno() >= 0:
            poll.register(self._parts.watch.fileno(), select.POLLIN)
        tired = True
        while True:
            ready = [fd for fd, _ in poll.poll(self._timeout())]
            if stop_fd in ready:
                return
            if ready:
                self._parts.watch.events()
            worked = bool(self.turn()) or bool(ready)
            if tired and not worked:
                at_rest()
            tired = worked

    def turn(self) -> list[SyncOutcome]:
        """Do everything that is due now."""
        parts = self._parts
        if parts.watch.changed(parts.clock()):
            self._reread()
        self._look_at_canaries()
        return self._sync_due()

    def _look_at_canaries(self) -> None:
        parts = self._parts
        for canary, proxier in zip(parts.canaries, parts.proxiers, strict=bool(parts.canaries)):
            if canary.look(parts.clock()):
                parts.reporter.said(f"IPv{proxier.family}: the tables were flushed; writing everything anew")
                proxier.force_full(parts.clock())

    def _reread(self) -> None:
        parts = self._parts
        mtime_ns = 0
        try:
            read = parts.watch.read()
            mtime_ns = read.mtime_ns
            cluster = parts.parse(read.text)
        except ManifestError as error:
            parts.reporter.refused(error, mtime_ns)
            return
        self._take(cluster, mtime_ns)
        if not any(proxier.waiting for proxier in parts.proxiers):
            parts.reporter.unchanged(mtime_ns)

    def _take(self, cluster: Cluster, mtime_ns: int) -> None:
        self._cluster, self._mtime_ns = cluster, mtime_ns
        for observer in self._parts.observers:
            observer.observed(cluster)
        now = self._parts.clock()
        for proxier in self._parts.proxiers:
            if proxier.observe(cluster, now):
                for observer in self._parts.observers:
                    observer.queued(proxier.family)

    def _sync_due(self) -> list[SyncOutcome]:
        parts = self._parts
        now = parts.clock()
        due = [proxier for proxier in parts.proxiers if proxier.schedule.due(now)]
        if not due or self._cluster is None:
            return []
        outcomes = [proxier.sync(parts.clock) for proxier in due]
        for outcome in outcomes:
            for observer in parts.observers:
                observer.synced(outcome)
            if outcome.forget_flows:
                self._forget(outcome)
        self._unreported += outcomes
        # A family that may not run yet (minSyncPeriod) holds the report back: one change, one line.
        if not any(proxier.waiting for proxier in parts.proxiers):
            seconds = sum(outcome.seconds for outcome in self._unreported)
            parts.reporter.synced(self._unreported, self._mtime_ns, seconds)
            self._unreported = []
        return outcomes

    def _forget(self, outcome: SyncOutcome) -> None:
        if self._cluster is None:
            return
        try:
            flows = self._parts.forget_flows(self._cluster, outcome.family)
        except KplabError as error:
            # The rules are right; kube-proxy, too, only logs this.
            self._parts.reporter.problem(str(error))
            return
        for observer in self._parts.observers:
            observer.forgot(outcome.family, flows)

    def _timeout(self) -> float:
        """Milliseconds until something is due by itself."""
        parts = self._parts
        times = [parts.watch.next_poll]
        times += [time for proxier in parts.proxiers if (time := proxier.schedule.next_run) is not None]
        times += [canary.next_look or 0.0 for canary in parts.canaries]
        return max(0.0, (min(times) - parts.clock()) * 1000) + 1
