"""IPVS mode's way from a cluster to the kernel, for one family: addresses, virtual servers, ipsets, rules.

kube-proxy's IPVS mode knows no partial syncs: each compares everything with the kernel, and does not write again what
is equal. Here a full sync does that. A partial one writes what differs from what was written last; right after it
everything is compared, if the last comparison is a syncPeriod old, or if the kernel refuses a change.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from math import inf

from kplab.errors import ApplyError, LabError
from kplab.model.cluster import Cluster, Family
from kplab.model.proxy_config import ProxyConfig
from kplab.modes.facts import NodeFacts
from kplab.modes.ipvs import compile_ipvs
from kplab.modes.ipvs_program import IpvsProgram
from kplab.proxy.apply import Applier, Order
from kplab.proxy.ipvs_changes import (
    Leaving,
    ServerChanges,
    address_changes,
    ended,
    part_changes,
    server_changes,
    set_changes,
)
from kplab.proxy.ipvs_held import differing_servers, differing_sets, held_servers
from kplab.proxy.ipvs_links import add_addresses, delete_addresses
from kplab.proxy.ipvs_tables import IpvsTables

CHECK_PERIOD = 60.0
"""Seconds between looks at real servers that wait for their last connection (rsCheckDeleteInterval)."""


class IpvsWriter:
    """Holds the last program written, and the real servers that are waited for."""

    def __init__(
        self, family: Family, node: str, config: ProxyConfig, tables: IpvsTables, rules: Applier, facts: NodeFacts
    ) -> None:
        """`facts` without addresses: those are read at each comparison."""
        self._family: Family = family
        self._node = node
        self._config = config
        self._tables = tables
        self._rules = rules
        self._facts = facts
        self._program: IpvsProgram | None = None
        self._cluster = Cluster()
        self._sure = False
        """The kernel held `_program` when it was looked at last."""
        self._compared = -inf
        self._next_comparison = inf
        self._leaving: frozenset[Leaving] = frozenset()
        self._next_look = inf

    @property
    def next_look(self) -> float:
        """When real servers that wait are looked at again, or everything is compared; never, where neither is due."""
        return min(self._next_look, self._next_comparison)

    @property
    def leaving(self) -> frozenset[Leaving]:
        """The real servers with weight 0 whose last connection has not ended."""
        return self._leaving

    def write(self, cluster: Cluster, changed: frozenset[str] | None, now: float) -> Order | None:
        """Write as `Writer.write` says; which Services have changed is found by comparing programs.

        Raises:
            LabError: the kernel cannot do this, or has refused something.
            ProgramError: a program is missing.

        """
        before, sure = self._program, self._sure
        self._sure, self._cluster = False, cluster
        if before is not None and sure and changed is not None and self._differ(cluster, before, now):
            self._next_comparison = now if now >= self._compared + self._config.ipvs.sync_period else inf
        else:
            self._compare(cluster, now)
        self._sure = True
        return None

    def _compare(self, cluster: Cluster, now: float) -> None:
        """Write what differs from what the kernel holds."""
        held = self._tables.addresses()
        self._facts = replace(self._facts, addresses=held.others)
        program = self._compiled(cluster)
        if held.device is None:
            self._tables.make_device()
        addresses = address_changes(program, held.device or frozenset())
        servers = server_changes(program, self._tables.servers(), self._leaving, self._config.ipvs.exclude_cidrs)
        add_addresses(addresses.first)
        self._tables.change_servers(servers.first)
        self._tables.change_sets(set_changes(program.sets, self._tables.sets()))
        self._rules.apply(Order(program.rules, None, clean_stale=False))
        self._tables.change_servers(servers.last)
        delete_addresses(addresses.last)
        self._program, self._compared, self._next_comparison = program, now, inf
        self._wait_for(servers.leaving, now)

    def _differ(self, cluster: Cluster, before: IpvsProgram, now: float) -> bool:
        """Write what differs from what was written last, in the same order; tell whether the kernel took it."""
        program = self._compiled(cluster)
        addresses = address_changes(program, frozenset(before.addresses))
        servers, others = self._differing(before, program)
        try:
            add_addresses(addresses.first)
            self._tables.change_servers(servers.first)
            self._tables.change_sets(set_changes(*differing_sets(before, program)))
            if program.rules.tables != before.rules.tables:
                self._rules.apply(Order(program.rules, None, clean_stale=False))
            self._tables.change_servers(servers.last)
            delete_addresses(addresses.last)
        except ApplyError:
            # Somebody else has changed what was written.
            return False
        self._program = program
        self._wait_for(servers.leaving | others, now)
        return True

    def _compiled(self, cluster: Cluster) -> IpvsProgram:
        return compile_ipvs(cluster, self._config, self._node, self._family, self._facts, self._program)

    def _differing(self, before: IpvsProgram, program: IpvsProgram) -> tuple[ServerChanges, frozenset[Leaving]]:
        """Return the commands for virtual servers that differ, and who is waited for at all others."""
        was, becomes = differing_servers(before, program)
        held = held_servers(was, self._tables.reals)
        touched = {server.key for server in (*was, *becomes)}
        others = frozenset(each for each in self._leaving if each[0] not in touched)
        return part_changes(becomes, held, self._leaving, self._config.ipvs.exclude_cidrs), others

    def look(self, now: float) -> bool:
        """Compare everything after a change, and once a minute delete real servers whose last connection has ended.

        Never asks for a sync. What fails is tried again: by the next comparison, the next look.
        """
        if now >= self._next_comparison:
            self._sure, self._next_comparison = False, now + self._config.ipvs.sync_period
            with suppress(LabError):
                self._compare(self._cluster, now)
                self._sure = True
        if now >= self._next_look:
            self._next_look = now + CHECK_PERIOD
            with suppress(LabError):
                commands, leaving = ended(self._tables.reals, self._leaving)
                self._tables.change_servers(commands)
                self._wait_for(leaving, now)
        return False

    def _wait_for(self, leaving: frozenset[Leaving], now: float) -> None:
        self._leaving = leaving
        if not leaving:
            self._next_look = inf
        elif self._next_look == inf:
            self._next_look = now + CHECK_PERIOD
