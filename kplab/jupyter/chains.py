"""A node's chains as a directed graph: which chain leads to which, out of the kernel's own listing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kplab.jupyter.installed import require
from kplab.model.journey import Hop
from kplab.model.nft import Nat, NftChain, NftTable, Reject, SetName, Statement, Verdict, VerdictMap
from kplab.model.ruleset import Rule
from kplab.rules.iptables_save import parse_iptables_save
from kplab.trace.recording import NodeState
from kplab.trace.rulesets import nft_of

if TYPE_CHECKING:
    import networkx

Family = Literal[4, 6]
Place = tuple[str, str]
"""A table and a chain; or a table and what a rule of it does: "DNAT 10.244.1.10:8080"."""

LEADS = ("jump", "goto")
ENDS = ("DNAT", "SNAT", "MASQUERADE", "DROP", "REJECT", "REDIRECT")
"""Targets that do something to the packet itself, and so are drawn."""


@dataclass(frozen=True, slots=True)
class Lead:
    """A rule, or an element of a map, that leads from a chain to another, or to what is done."""

    source: Place
    target: Place
    rule: int
    label: str
    chain: bool = True
    """False when the target is no chain."""


@dataclass(frozen=True, slots=True)
class Found:
    """A node's chains, which of them the kernel begins with, and what leads where."""

    chains: tuple[Place, ...]
    begins: frozenset[Place]
    leads: tuple[Lead, ...]


def find_chains(state: NodeState, family: Family, backend: str) -> Found:
    """Read the chains of one IP family: those of iptables' back-end, and of a proxy mode's own nf_tables."""
    chains: list[Place] = []
    begins: set[Place] = set()
    leads: list[Lead] = []
    save = next((s for s in state.saves if (s.family, s.backend) == (family, backend)), None)
    ruleset = parse_iptables_save(save.text, save.family, save.backend) if save else None
    for table in ruleset.tables.values() if ruleset else ():
        for chain in table.chains.values():
            chains.append((table.name, chain.name))
            if chain.policy is not None:
                begins.add((table.name, chain.name))
            leads += [lead for rule in chain.rules for lead in _of_rule(table.name, rule, set(table.chains))]
    nft = nft_of(state)
    for own in nft.tables.values() if nft else ():
        if own.family not in ("inet", "ip" if family == 4 else "ip6"):
            continue
        for each in own.chains.values():
            chains.append((own.name, each.name))
            if each.hook is not None:
                begins.add((own.name, each.name))
            leads += _of_nft(own, each)
    return Found(tuple(chains), frozenset(begins), tuple(leads))


def _of_rule(table: str, rule: Rule, chains: set[str]) -> Iterator[Lead]:
    target, source = rule.target, (table, rule.chain)
    if target.name in chains:
        yield Lead(source, (table, target.name), rule.number, rule.comment or "")
    elif target.name in ENDS:
        to = target.option("to-destination") or target.option("reject-with") or ""
        yield Lead(source, (table, f"{target.name} {to}".strip()), rule.number, rule.comment or "", chain=False)


def _of_nft(table: NftTable, chain: NftChain) -> Iterator[Lead]:
    source = (table.name, chain.name)
    for rule in chain.rules:
        for statement in rule.statements:
            for name, label, is_chain in _nft_targets(table, statement):
                yield Lead(source, (table.name, name), rule.number, label or rule.comment or "", is_chain)


def _nft_targets(table: NftTable, statement: Statement) -> Iterator[tuple[str, str, bool]]:
    match statement:
        case Verdict(word="jump" | "goto", chain=str() as name):
            yield name, "", True
        case Verdict(word="drop"):
            yield "drop", "", False
        case VerdictMap(data=SetName(name=name)) if name in table.sets:
            for element in table.sets[name].elements:
                if isinstance(element.value, Verdict) and element.value.chain:
                    yield element.value.chain, f"{name}: {element.text.split(' : ')[0]}", True
        case VerdictMap(data=data) if not isinstance(data, SetName):
            for element in data:
                if isinstance(element.value, Verdict) and element.value.chain:
                    yield element.value.chain, element.text.split(" : ")[0], True
        case Nat(kind=kind):
            yield kind, "", False
        case Reject(answer=answer):
            yield f"reject {answer}".strip(), "", False
        case _:
            return


def graph_of(found: Found) -> networkx.DiGraph[Place]:
    """Return the graph; a node's `chain` tells chains from what is done, `begins` the kernel's own hooks.

    Raises:
        NotInstalledError: networkx is not there.
    """
    require("make a graph of the chains", "networkx")
    from networkx import DiGraph

    graph: networkx.DiGraph[Place] = DiGraph()
    for place in found.chains:
        graph.add_node(place, chain=True, begins=place in found.begins, lit=False)
    for lead in found.leads:
        if lead.target not in graph:
            graph.add_node(lead.target, chain=lead.chain, begins=False, lit=False)
        if graph.has_edge(lead.source, lead.target):
            graph.edges[lead.source, lead.target]["rules"].append(lead.rule)
        else:
            graph.add_edge(lead.source, lead.target, rules=[lead.rule], label=lead.label, lit=False)
    return graph


def light(graph: networkx.DiGraph[Place], hops: Iterable[Hop]) -> None:
    """Mark the chains that a packet walked, and what led from one to the next, as `lit`."""
    for hop in hops:
        if hop.chain is None or (here := (hop.table or "", hop.chain)) not in graph:
            continue
        graph.nodes[here]["lit"] = True
        word, _, name = (hop.verdict or "").partition(" ")
        there = (hop.table or "", name)
        if word in LEADS and graph.has_edge(here, there):
            graph.edges[here, there]["lit"] = graph.nodes[there]["lit"] = True
        for target in graph.successors(here):
            edge = graph.edges[here, target]
            if not graph.nodes[target]["chain"] and hop.rule_number in edge["rules"] and hop.kind != "chain":
                edge["lit"] = graph.nodes[target]["lit"] = True
