"""Reads what a node's kernel holds: rules, handles, addresses, routes, conntrack entries.

Rules are the slow part (a large dump takes seconds), so they are kept for as long as nf_tables' generation says that
nothing has changed. iptables-legacy's tables have no such number; they are read each time.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs

from kplab.capture.handles import read_generation, read_handles
from kplab.capture.tracing import lab_chains
from kplab.lab.ebpf import BPFFS, SHOWN
from kplab.lab.netns import NetworkNamespaces
from kplab.lab.run import Runner
from kplab.lab.send import LAB_CHAINS
from kplab.trace.recording import Backend, ChainHandles, NodeState, Save

IPTABLES_TABLES = {"raw", "mangle", "nat", "filter", "security"}
SAVE_LIMIT = 120.0
VIRTUAL_SERVERS = Path("/proc/net/ip_vs")
"""IPVS's virtual servers in the reader's namespace (net/netfilter/ipvs/ip_vs_ctl.c); a kernel without IPVS has none."""
_TABLES_IN_USE = {4: "/proc/net/ip_tables_names", 6: "/proc/net/ip6_tables_names"}


@dataclass(frozen=True, slots=True)
class _Rules:
    """A node's rules in nf_tables at one generation."""

    generation: int
    saves: tuple[Save, ...]
    handles: tuple[ChainHandles, ...]
    nft: str
    """`nft -a -j list` of the tables that are nobody's but nf_tables' own, joined; empty without any."""


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
            servers = self._virtual_servers("-S", "-n")
            return NodeState(
                node=node,
                saves=tuple(sorted(saves, key=lambda save: (save.backend != self._backend, save.family))),
                handles=rules.handles,
                generation=rules.generation,
                nft=rules.nft,
                addresses=self._addresses(),
                routes=(*self._lines("ip", "route", "show"), *self._lines("ip", "-6", "route", "show")),
                conntrack_before=self._conntrack(),
                ipvs=servers,
                ipvs_stats=(self._virtual_servers("-L", "-n"), ""),
                ipvs_connections=(self._virtual_servers("-L", "-n", "-c"), ""),
                ipset=self._ipset(saves),
                local_routes=self._local_routes() if servers else (),
                listening=self._listening(saves),
                recent=_recent(),
                bpf_maps=self._bpf_maps(node),
                lab_chains=(*lab_chains(), *LAB_CHAINS),
            )

    def after(self, before: NodeState) -> NodeState:
        """Return a node's earlier state with what it has become: conntrack's entries, IPVS's counts and connections.

        Raises:
            UnknownNameError: no such node. ProgramError: a program failed.
        """
        with self._namespaces.entered(before.node):
            return structs.replace(
                before,
                conntrack_after=self._conntrack(),
                ipvs_stats=(before.ipvs_stats[0], self._virtual_servers("-L", "-n")),
                ipvs_connections=(before.ipvs_connections[0], self._virtual_servers("-L", "-n", "-c")),
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
                # Packets fill sets with timeouts, which is no new generation.
                return replace(kept, nft=self._nft()) if '"timeout"' in kept.nft else kept
            handles = read_handles()
            families = {each.family for each in handles if each.table in IPTABLES_TABLES}
            saves = tuple(
                self._save(family, "nft")
                for family, name in ((4, "ip"), (6, "ip6"))
                if self._backend == "nft" or name in families
            )
            nft = self._nft()
            if read_generation() == generation:
                self._kept[node] = _Rules(generation, saves, handles, nft)

    def _nft(self) -> str:
        """Tables that neither iptables nor the lab's tracing made: kube-proxy's in nftables mode, a student's."""
        listed = json.loads(self._runner.run(["nft", "-j", "list", "tables"]).stdout)["nftables"]
        tables = [(each["table"]["family"], each["table"]["name"]) for each in listed if "table" in each]
        ours = {table for table, _ in (*lab_chains(), *LAB_CHAINS)}
        objects = [
            listing
            for family, name in tables
            if name not in ours and not (family in ("ip", "ip6") and name in IPTABLES_TABLES)
            for listing in json.loads(
                self._runner.run(["nft", "-a", "-j", "list", "table", family, name], limit=SAVE_LIMIT).stdout
            )["nftables"]
            if "metainfo" not in listing
        ]
        return json.dumps({"nftables": objects}) if objects else ""

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

    def _virtual_servers(self, *arguments: str) -> str:
        """What ipvsadm prints, in a namespace where there are virtual servers."""
        if not VIRTUAL_SERVERS.exists() or "->" not in VIRTUAL_SERVERS.read_text().partition("RemoteAddress")[2]:
            return ""
        return self._runner.run(["ipvsadm", *arguments]).stdout

    def _ipset(self, saves: tuple[Save, ...]) -> str:
        """`ipset save`, where a rule asks for a set."""
        if not any("--match-set" in save.text for save in saves):
            return ""
        return self._runner.run(["ipset", "save"]).stdout

    def _local_routes(self) -> tuple[str, ...]:
        """The routing tables `local`, where the addresses of kube-ipvs0 stand."""
        return (
            *self._lines("ip", "route", "show", "table", "local"),
            *self._lines("ip", "-6", "route", "show", "table", "local"),
        )

    def _listening(self, saves: tuple[Save, ...]) -> str:
        """`ss -H -tulnp`, where a rule redirects to a port of a proxy's."""
        if not any(" -j REDIRECT --to-ports " in save.text for save in saves):
            return ""
        return self._runner.run(["ss", "-H", "-tulnp"]).stdout

    def _bpf_maps(self, node: str) -> tuple[tuple[str, str], ...]:
        """The socket load balancer's maps, where there is one."""
        folder = BPFFS / node
        if not folder.is_dir():
            return ()
        dump = ("bpftool", "-j", "map", "dump", "pinned")
        return tuple((name, self._runner.run([*dump, str(folder / name)]).stdout.strip()) for name in SHOWN)

    def _lines(self, *argv: str) -> tuple[str, ...]:
        return tuple(line.rstrip() for line in self._runner.run(argv).stdout.splitlines())


def _recent() -> tuple[tuple[str, str], ...]:
    folder = Path("/proc/net/xt_recent")
    if not folder.is_dir():
        return ()
    return tuple((path.name, path.read_text()) for path in sorted(folder.iterdir()))
