"""Reads what a node's kernel holds: rules, handles, addresses, routes, conntrack entries.

Rules are the slow part (a large dump takes seconds), so they are kept for as long as nf_tables' generation says that
nothing has changed. iptables-legacy's tables have no such number; they are read each time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kplab.capture.handles import read_generation, read_handles
from kplab.capture.tracing import lab_chains
from kplab.lab.netns import NetworkNamespaces
from kplab.lab.run import Runner
from kplab.lab.send import LAB_CHAINS
from kplab.trace.recording import Backend, ChainHandles, NodeState, Save

IPTABLES_TABLES = {"raw", "mangle", "nat", "filter", "security"}
SAVE_LIMIT = 120.0
_TABLES_IN_USE = {4: "/proc/net/ip_tables_names", 6: "/proc/net/ip6_tables_names"}


@dataclass(frozen=True, slots=True)
class _Rules:
    """A node's rules in nf_tables at one generation."""

    generation: int
    saves: tuple[Save, ...]
    handles: tuple[ChainHandles, ...]


class NodeReader:
    """Reads nodes' states; holds the rules that it read last."""

    def __init__(self, namespaces: NetworkNamespaces, runner: Runner, backend: Backend) -> None:
        self._namespaces = namespaces
        self._runner = runner
        self._backend = backend
        self._kept: dict[str, _Rules] = {}

    def read(self, node: str) -> NodeState:
        """Return a node's state as it is now; `conntrack_after` is left empty.

        Raises:
            UnknownNameError: no such node. ProgramError: a program failed. CaptureError: the kernel refused.
        """
        with self._namespaces.entered(node):
            rules = self._rules(node)
            saves = (*rules.saves, *self._legacy_saves())
            return NodeState(
                node=node,
                saves=tuple(sorted(saves, key=lambda save: (save.backend != self._backend, save.family))),
                handles=rules.handles,
                generation=rules.generation,
                addresses=self._addresses(),
                routes=(*self._lines("ip", "route", "show"), *self._lines("ip", "-6", "route", "show")),
                conntrack_before=self._conntrack(),
                ipset=self._ipset(saves),
                recent=_recent(),
                lab_chains=(*lab_chains(), *LAB_CHAINS),
            )

    def conntrack(self, node: str) -> tuple[str, ...]:
        """Return a node's conntrack entries, as `conntrack -L -o extended,id` prints them.

        Raises:
            UnknownNameError: no such node. ProgramError: conntrack failed.
        """
        with self._namespaces.entered(node):
            return self._conntrack()

    def _rules(self, node: str) -> _Rules:
        """nf_tables' part. Whatever changes while it is read shows in the generation, and it is read again."""
        while True:
            generation = read_generation()
            kept = self._kept.get(node)
            if kept is not None and kept.generation == generation:
                return kept
            handles = read_handles()
            families = {each.family for each in handles if each.table in IPTABLES_TABLES}
            saves = tuple(
                self._save(family, "nft")
                for family, name in ((4, "ip"), (6, "ip6"))
                if self._backend == "nft" or name in families
            )
            if read_generation() == generation:
                self._kept[node] = _Rules(generation, saves, handles)

    def _legacy_saves(self) -> tuple[Save, ...]:
        """iptables-legacy's tables, where there are any: looking at the list of them creates none."""
        return tuple(
            self._save(family, "legacy")
            for family, names in _TABLES_IN_USE.items()
            if self._backend == "legacy" or (Path(names).exists() and Path(names).read_text().strip())
        )

    def _save(self, family: int, backend: Backend) -> Save:
        program = f"ip{'6' if family == 6 else ''}tables-{backend}-save"
        text = self._runner.run([program], limit=SAVE_LIMIT).stdout
        return Save(6 if family == 6 else 4, backend, re.sub(r"(?m)^#.*\n", "", text))

    def _addresses(self) -> tuple[str, ...]:
        """The addresses in the routing tables `local`: what addrtype LOCAL looks at. Local prefixes are routes."""
        lines = [
            *self._lines("ip", "-o", "route", "show", "table", "local", "type", "local"),
            *self._lines("ip", "-6", "-o", "route", "show", "table", "local", "type", "local"),
        ]
        found = [line.split()[1] for line in lines]
        return tuple(dict.fromkeys(address for address in found if "/" not in address))

    def _conntrack(self) -> tuple[str, ...]:
        return (
            *self._lines("conntrack", "-L", "-f", "ipv4", "-o", "extended,id"),
            *self._lines("conntrack", "-L", "-f", "ipv6", "-o", "extended,id"),
        )

    def _ipset(self, saves: tuple[Save, ...]) -> str:
        """`ipset save`, where a rule asks for a set."""
        if not any("--match-set" in save.text for save in saves):
            return ""
        return self._runner.run(["ipset", "save"]).stdout

    def _lines(self, *argv: str) -> tuple[str, ...]:
        return tuple(line.rstrip() for line in self._runner.run(argv).stdout.splitlines())


def _recent() -> tuple[tuple[str, str], ...]:
    folder = Path("/proc/net/xt_recent")
    if not folder.is_dir():
        return ()
    return tuple((path.name, path.read_text()) for path in sorted(folder.iterdir()))
