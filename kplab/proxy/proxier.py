"""One family's proxier: what changed, whether the next sync is full, and the sync itself.

Follows what Proxier of pkg/proxy/iptables and of pkg/proxy/nftables have in common: a dual-stack kube-proxy is two
of these, which know nothing of each other, and each syncs only when its own family's Services or endpoints have
changed. What is written, and how, is the mode's `Writer`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from kplab.errors import KplabError
from kplab.model.cluster import Cluster, Family
from kplab.modes.changes import changed_services, udp_changed
from kplab.modes.nft_program import NftablesProgram
from kplab.proxy.apply import Order
from kplab.proxy.schedule import FULL_SYNC_PERIOD, Schedule

TOPOLOGY_LABELS = ("kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region")
"""The labels of its own Node that kube-proxy watches; a change of one asks for a full sync."""

Written = Order | NftablesProgram
"""What a mode has written, for metrics to count."""


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """What came of one family's sync."""

    family: Family
    kind: Literal["full", "partial"]
    seconds: float
    error: KplabError | None
    forget_flows: bool = False
    """A UDP Service or its endpoints changed, so conntrack should be cleaned."""
    order: Written | None = None
    """What was written; None where it could not be, or where metrics count nothing of it."""


class Writer(Protocol):
    """One mode's way from a cluster to the kernel, for one family; remembers what it wrote last."""

    def write(self, cluster: Cluster, changed: frozenset[str] | None, now: float) -> Written | None:
        """Compile and write: everything where `changed` is None, else what these Services (`ns/name`) touch.

        `now` is the proxier's clock. Returns what metrics count, if the mode has such.

        Raises:
            KplabError: the rules could not be compiled or written.

        """
        ...


class Proxier:
    """Holds what has changed since the last sync."""

    def __init__(self, family: Family, node: str, schedule: Schedule, writer: Writer) -> None:
        """`node` is whose topology labels ask for a full sync when they change."""
        self.family = family
        self.schedule = schedule
        self._node = node
        self._writer = writer
        self._cluster: Cluster | None = None
        self._changed: frozenset[str] = frozenset()
        self._udp = False
        self._need_full = True
        self.waiting = False
        """A sync was asked for, and none was tried since."""
        self._last_full = 0.0

    def observe(self, cluster: Cluster, now: float) -> bool:
        """Take in the whole state anew; tell whether this family needs a sync, which is then scheduled."""
        before, self._cluster = self._cluster, cluster
        if before is None:
            self._udp = True
            self._ask(now)
            return True
        changed = changed_services(before, cluster, self.family)
        if _topology(before, self._node) != _topology(cluster, self._node):
            self._need_full = True
        elif not changed:
            return False
        self._changed |= changed
        self._udp = self._udp or udp_changed(before, cluster, changed)
        self._ask(now)
        return True

    def force_full(self, now: float) -> None:
        """The tables were found flushed: write everything anew."""
        self._need_full = True
        if self._cluster is not None:
            self._ask(now)

    def sync(self, clock: Callable[[], float]) -> SyncOutcome:
        """Compile and write; an error is part of the outcome, and the sync after it is full."""
        started = clock()
        cluster = self._cluster or Cluster()
        full = self._need_full or started - self._last_full > FULL_SYNC_PERIOD
        error: KplabError | None = None
        order: Written | None = None
        try:
            order = self._writer.write(cluster, None if full else self._changed, started)
        except KplabError as refused:
            error, self._need_full = refused, True
        else:
            self._changed = frozenset()
            if full:
                self._need_full, self._last_full = False, started
        forget, self._udp = (self._udp, False) if error is None else (False, self._udp)
        self.waiting = False
        ended = clock()
        self.schedule.finished(ended, succeeded=error is None)
        return SyncOutcome(self.family, "full" if full else "partial", ended - started, error, forget, order)

    def _ask(self, now: float) -> None:
        self.waiting = True
        self.schedule.ask(now)


def _topology(cluster: Cluster, node: str) -> tuple[str | None, ...]:
    found = cluster.node(node)
    return tuple(found.label(key) if found else None for key in TOPOLOGY_LABELS)
