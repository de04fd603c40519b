"""Iptables mode's way from a cluster to the kernel: compile, decide what to clean, apply."""

from __future__ import annotations

from collections.abc import Callable

from kplab.model.cluster import Cluster, Family
from kplab.model.proxy_config import ProxyConfig
from kplab.modes.facts import NodeFacts
from kplab.modes.iptables import LARGE_CLUSTER_ENDPOINTS, compile_iptables
from kplab.modes.program import IptablesProgram
from kplab.proxy.apply import Applier, Order


class IptablesWriter:
    """Holds the last program written."""

    def __init__(
        self, family: Family, node: str, config: ProxyConfig, applier: Applier, facts: Callable[[], NodeFacts]
    ) -> None:
        """`facts` is asked at each sync: a node's addresses may change."""
        self._family: Family = family
        self._node = node
        self._config = config
        self._applier = applier
        self._facts = facts
        self._program: IptablesProgram | None = None
        self._facts_used: NodeFacts | None = None
        self._last_clean: float | None = None

    def write(self, cluster: Cluster, changed: frozenset[str] | None, now: float) -> Order:
        """Write as `Writer.write` says.

        Raises:
            ApplyError: the kernel, or iptables, refused the rules.
            ProgramError: iptables is missing.

        """
        facts = self._facts()
        previous = self._program if facts == self._facts_used else None
        program = compile_iptables(cluster, self._config, self._node, self._family, facts, previous)
        self._program, self._facts_used = program, facts
        rested = self._last_clean is None or now - self._last_clean > self._config.iptables.sync_period
        order = Order(program, changed, rested or program.endpoints <= LARGE_CLUSTER_ENDPOINTS)
        self._applier.apply(order)
        if order.clean_stale:
            self._last_clean = now
        return order
