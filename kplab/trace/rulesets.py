"""A node's rules as its kernel printed them, read once for each text, and of it only the chains that are asked for.

A node may hold 100,000 rules, and a packet meets twenty chains of them. So a text is first cut into its chains, which
is quick, and a chain is parsed (by `kplab.rules`) when a packet has entered it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from kplab.errors import UsageError
from kplab.model.nft import NftChain, NftRuleset
from kplab.model.ruleset import Chain, Ruleset, Table
from kplab.rules.ipset_save import parse_ipset_save
from kplab.rules.iptables_save import parse_iptables_save
from kplab.rules.nft_json import parse_nft
from kplab.trace.match_state import NodeView
from kplab.trace.recording import Backend, ChainHandles, NodeState

Family = Literal[4, 6]


class NodeRules:
    """One text of iptables-save, cut into chains; see `rules_of`."""

    def __init__(self, text: str, family: Family, backend: Backend) -> None:
        self._family = family
        self._backend = backend
        self._lines = _cut(text)
        self._given: tuple[ChainHandles, ...] = ()
        self._handles: dict[tuple[str, str], ChainHandles] = {}
        self._chains: dict[tuple[str, str], Chain] = {}

    def take_handles(self, handles: tuple[ChainHandles, ...]) -> None:
        """Take the rules' handles, which may be others for the same text: a flush and a reload renumber them."""
        if handles is self._given or handles == self._given:
            return
        ours = "ip" if self._family == 4 else "ip6"
        self._given = handles
        self._handles = {(each.table, each.chain): each for each in handles if each.family == ours}
        self._chains.clear()

    def ruleset(self, table: str, chains: Iterable[str]) -> Ruleset:
        """Return a ruleset that holds these chains of the table, as far as the text has them. Raises UsageError."""
        found = {name: self._chain(table, name) for name in chains if (table, name) in self._lines}
        return Ruleset(self._family, self._backend, {table: Table(table, found)} if found else {})

    def _chain(self, table: str, name: str) -> Chain:
        chain = self._chains.get((table, name))
        if chain is None:
            text = "\n".join([f"*{table}", *self._lines[table, name], "COMMIT", ""])
            handles = self._handles.get((table, name))
            read = parse_iptables_save(text, self._family, self._backend, [handles] if handles else [])
            chain = self._chains[table, name] = read.tables[table].chains[name]
        return chain


@lru_cache(maxsize=16)
def _cut(text: str) -> dict[tuple[str, str], list[str]]:
    """Return the lines of each chain, its `:CHAIN` line first, by table and chain."""
    lines: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in text.split("\n"):
        first = line[:1]
        if first == "-":
            lines.setdefault((table, line.split(" ", 2)[1]), []).append(line)
        elif first == ":":
            lines[table, line[1:].split(" ", 1)[0]] = [line]
        elif first == "[":
            # With counters: "[12:720] -A CHAIN …".
            lines.setdefault((table, line.split(" ", 3)[2]), []).append(line)
        elif first == "*":
            table = line[1:].strip()
    return lines


def rules_of(state: NodeState, family: Family, backend: Backend) -> NodeRules | None:
    """Return the node's rules of a family and back-end; None when they were not read or are no iptables-save."""
    save = next((s for s in state.saves if (s.family, s.backend) == (family, backend)), None)
    if save is None:
        return None
    try:
        rules = _rules(save.text, family, backend, state.node)
    except IndexError:
        return None
    rules.take_handles(state.handles)
    return rules


@lru_cache(maxsize=16)
def _rules(text: str, family: Family, backend: Backend, node: str) -> NodeRules:
    """Nodes whose rules read the same still have handles of their own: one may have loaded them once more."""
    return NodeRules(text, family, backend)


def nft_of(state: NodeState) -> NftRuleset | None:
    """Return the node's tables of nf_tables' own; None without any, or when the text is no listing."""
    try:
        return _nft(state.nft) if state.nft else None
    except UsageError:
        return None


@lru_cache(maxsize=16)
def _nft(text: str) -> NftRuleset:
    return parse_nft(text)


def base_chains_of(state: NodeState) -> dict[tuple[str, str, str], NftChain]:
    """Return the base chains of nf_tables' own by family, table and name: a trace names no hook."""
    ruleset = nft_of(state)
    return {
        (table.family, table.name, chain.name): chain
        for table in (ruleset.tables.values() if ruleset else ())
        for chain in table.chains.values()
        if chain.hook is not None
    }


def view_of(state: NodeState) -> NodeView:
    """Return what rules ask about the node: its addresses, routes, recent lists and ipsets."""
    try:
        sets = parse_ipset_save(state.ipset) if state.ipset else {}
    except UsageError:
        sets = {}
    return NodeView.read(state.addresses, state.routes, state.recent, sets)
