"""IPVS mode's way from a cluster to the kernel, for one family: addresses, virtual servers, ipsets, rules.

kube-proxy's IPVS mode knows no partial syncs: each compares everything with the kernel. What is equal is not
written again; so a later sync costs what has changed, and mends what somebody else has broken.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from kplab.errors import LabError
from kplab.model.cluster import Cluster, Family
from kplab.model.proxy_config import ProxyConfig
from kplab.modes.facts import NodeFacts
from kplab.modes.ipvs import compile_ipvs
from kplab.modes.ipvs_program import IpvsProgram
from kplab.proxy.apply import Applier, Order
from kplab.proxy.ipvs_changes import Leaving, address_changes, ended, server_changes, set_changes
from kplab.proxy.ipvs_tables import IpvsTables

CHECK_PERIOD = 60.0
"""Seconds between looks at real servers that wait for their last connection (rsCheckDeleteInterval)."""


class IpvsWriter:
    """Holds the last program written, and the real servers that are waited for."""

    def __init__(
        self, family: Family, node: str, config: ProxyConfig, tables: IpvsTables, rules: Applier, facts: NodeFacts
    ) -> None:
        """`facts` without addresses: those are read at each sync."""
        self._family: Family = family
        self._node = node
        self._config = config
        self._tables = tables
        self._rules = rules
        self._facts = facts
        self._program: IpvsProgram | None = None
        self._leaving: frozenset[Leaving] = frozenset()
        self._next_look = inf

    @property
    def next_look(self) -> float:
        """When real servers that wait are looked at again; never, where there are none."""
        return self._next_look

    @property
    def leaving(self) -> frozenset[Leaving]:
        """The real servers with weight 0 whose last connection has not ended."""
        return self._leaving

    def write(self, cluster: Cluster, changed: frozenset[str] | None, now: float) -> Order | None:
        """Write as `Writer.write` says; `changed` is not used: every sync is whole.

        Raises:
            LabError: the kernel cannot do this, or has refused something.
            ProgramError: a program is missing.

        """
        held = self._tables.addresses()
        facts = replace(self._facts, addresses=held.others)
        program = compile_ipvs(cluster, self._config, self._node, self._family, facts, self._program)
        add, delete = address_changes(program, held.device)
        excluded = self._config.ipvs.exclude_cidrs
        servers = server_changes(program, self._tables.servers(), self._leaving, excluded)
        self._tables.change_links(add)
        self._tables.change_servers(servers.first)
        self._tables.change_sets(set_changes(program, self._tables.sets()))
        self._rules.apply(Order(program.rules, None, clean_stale=False))
        self._tables.change_servers(servers.last)
        self._tables.change_links(delete)
        self._program = program
        self._wait_for(servers.leaving, now)
        return None

    def look(self, now: float) -> bool:
        """Delete real servers whose last connection has ended, once a minute; never asks for a sync."""
        if now >= self._next_look:
            self._next_look = now + CHECK_PERIOD
            try:
                lines, leaving = ended(self._tables.servers(), self._leaving)
                self._tables.change_servers(lines)
            except LabError:
                # The next look tries again, as upstream.
                return False
            self._wait_for(leaving, now)
        return False

    def _wait_for(self, leaving: frozenset[Leaving], now: float) -> None:
        self._leaving = leaving
        if not leaving:
            self._next_look = inf
        elif self._next_look == inf:
            self._next_look = now + CHECK_PERIOD
