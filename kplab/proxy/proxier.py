"""One family's proxier: what changed, whether the next sync is full, and the sync itself.

Follows Proxier of pkg/proxy/iptables: a dual-stack kube-proxy is two of these, which know nothing of each
other, and each syncs only when its own family's Services or endpoints have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kplab.errors import KplabError
from kplab.model.cluster import Cluster, Family
from kplab.model.proxy_config import ProxyConfig
from kplab.modes.changes import changed_services, udp_changed
from kplab.modes.facts import NodeFacts
from kplab.modes.iptables import LARGE_CLUSTER_ENDPOINTS, compile_iptables
from kplab.modes.program import IptablesProgram
from kplab.proxy.apply import Applier, Order
from kplab.proxy.schedule import FULL_SYNC_PERIOD, Schedule

TOPOLOGY_LABELS = ("kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region")
"""The labels of its own Node that kube-proxy watches; a change of one asks for a full sync."""


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """What came of one family's sync."""

    family: Family
    kind: Literal["full", "partial"]
    seconds: float
    error: KplabError | None
    forget_flows: bool = False
    """A UDP Service or its endpoints changed, so conntrack should be cleaned."""
    order: Order | None = None
    """What was written; None where it could not be."""


class Proxier:
    """Holds the last program written, and what has changed since."""

    def __init__(
        self, family: Family, node: str, config: ProxyConfig, applier: Applier, facts: Callable[[], NodeFacts]
    ) -> None:
        """`facts` is asked at each sync: a node's addresses may change."""
        self.family = family
        self.schedule = Schedule(config.iptables.min_sync_period, config.iptables.sync_period)
        self._node = node
        self._config = config
        self._applier = applier
        self._facts = facts
        self._cluster: Cluster | None = None
        self._program: IptablesProgram | None = None
        self._facts_used: NodeFacts | None = None
        self._changed: frozenset[str] = frozenset()
        self._udp = False
        self._need_full = True
        self.waiting = False
        """A sync was asked for, and none was tried since."""
        self._last_full = 0.0
        self._last_clean: float | None = None

    @property
    def program(self) -> IptablesProgram | None:
        """The program of the last sync."""
        return self._program

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
        order: Order | None = None
        try:
            order = self._order(cluster, started, full=full)
            self._applier.apply(order)
        except KplabError as refused:
            error, order, self._need_full = refused, None, True
        else:
            self._succeeded(order, started)
        forget, self._udp = (self._udp, False) if error is None else (False, self._udp)
        self.waiting = False
        ended = clock()
        self.schedule.finished(ended, succeeded=error is None)
        return SyncOutcome(self.family, "full" if full else "partial", ended - started, error, forget, order)

    def _ask(self, now: float) -> None:
        self.waiting = True
        self.schedule.ask(now)

    def _order(self, cluster: Cluster, now: float, *, full: bool) -> Order:
        facts = self._facts()
        previous = self._program if facts == self._facts_used else None
        program = compile_iptables(cluster, self._config, self._node, self.family, facts, previous)
        self._program, self._facts_used = program, facts
        rested = self._last_clean is None or now - self._last_clean > self._config.iptables.sync_period
        clean = rested or program.endpoints <= LARGE_CLUSTER_ENDPOINTS
        return Order(program, None if full else self._changed, clean)

    def _succeeded(self, order: Order, started: float) -> None:
        self._changed = frozenset()
        if order.clean_stale:
            self._last_clean = started
        if order.full:
            self._need_full, self._last_full = False, started


def _topology(cluster: Cluster, node: str) -> tuple[str | None, ...]:
    found = cluster.node(node)
    return tuple(found.label(key) if found else None for key in TOPOLOGY_LABELS)
