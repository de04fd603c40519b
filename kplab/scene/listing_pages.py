"""One command's output as a page: its lines, what stands where, and how to find in it what a hop touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kplab.model import bpf_maps as layout
from kplab.model.journey import Hop
from kplab.model.nft import NftTable
from kplab.rules.ipset_list import list_ipsets
from kplab.rules.nft_listing import element_of_line, list_table

FOLD_FROM = 24
"""Elements from which a set's or map's are folded."""
SHOWN = 8
"""Elements of a folded one that are shown."""

Finder = Callable[[Hop], Iterator[int]]


@dataclass(frozen=True, slots=True)
class Page:
    """What a command printed."""

    lines: Sequence[str]
    count: str
    """How much it is: "28,000 rules · 4,010 chains"."""
    sections: Mapping[tuple[str, str], int]
    """(table or kind, name) -> line: chains, sets, maps, virtual servers."""
    find: Finder
    """The lines that a hop touched."""
    folds: tuple[range, ...] = field(default=())
    """Runs of elements that are shown as one line until they are asked for."""


def iptables_page(text: str, family: Literal[4, 6]) -> Page:
    """`iptables-save`: a chain's section is its first rule, or its declaration when it has none."""
    lines = [row for row in text.splitlines() if row and not row.startswith("#")]
    chains: dict[tuple[str, str], int] = {}
    rules: dict[tuple[str, str], int] = {}
    table, count = "", 0
    for number, row in enumerate(lines):
        if row.startswith("-A "):
            count += 1
            key = (table, row[3:].split(" ", 1)[0])
            if key not in rules:
                rules[key] = chains[key] = number
        elif row.startswith(":"):
            chains.setdefault((table, row[1:].split(" ", 1)[0]), number)
        elif row.startswith("*"):
            table = row[1:].strip()

    def find(hop: Hop) -> Iterator[int]:
        if hop.table and hop.chain and hop.rule_number and family_of(hop) == family:
            line = rules.get((hop.table, hop.chain), len(lines)) + hop.rule_number - 1
            if line < len(lines) and lines[line].startswith(f"-A {hop.chain} "):
                yield line

    return Page(lines, counted((count, "rule"), (len(chains), "chain")), chains, find)


def nft_page(table: NftTable) -> Page:
    """`nft list table`: rules by number, elements by their text."""
    listing = list_table(table)
    elements: dict[tuple[str, str], int] = {}

    def find(hop: Hop) -> Iterator[int]:
        if hop.table != table.name or table.family not in ("inet", "ip6" if family_of(hop) == 6 else "ip"):
            return
        rules = listing.rules.get(hop.chain or "", range(0))
        if hop.rule_number and hop.rule_number <= len(rules):
            yield rules[hop.rule_number - 1]
        if hop.lookup is not None and hop.lookup.element is not None:
            if not elements:
                for name, where in listing.elements.items():
                    elements.update({(name, element_of_line(listing.lines[at])): at for at in where})
            found = elements.get((hop.lookup.map, hop.lookup.element))
            if found is not None:
                yield found

    sections = {("set", name): at for name, at in listing.sets.items()}
    sections |= {("chain", name): at for name, at in listing.chains.items()}
    rules = sum(len(each) for each in listing.rules.values())
    held = sum(len(each) for each in listing.elements.values())
    chains, sets = len(listing.chains), len(listing.sets)
    count = counted((rules, "rule"), (chains, "chain"), (held, "element"), (sets, "set or map"))
    return Page(listing.lines, count, sections, find, _folds(listing.elements.values()))


def ipvs_page(text: str) -> Page:
    """`ipvsadm -Ln`: virtual servers, each with its real servers."""
    lines = text.splitlines()
    servers: dict[str, int] = {}
    reals: dict[tuple[str, str], int] = {}
    name = ""
    for number, row in enumerate(lines):
        words = row.split()
        if words[:1] == ["->"] and name:
            reals[name, words[1]] = number
        elif words and words[0] in ("TCP", "UDP", "SCTP"):
            name = f"{words[0]} {words[1]}"
            servers[name] = number

    def find(hop: Hop) -> Iterator[int]:
        if hop.ipvs is not None:
            asked, chosen = hop.ipvs.virtual_server, hop.ipvs.chosen
            yield from (at for at in (servers.get(asked), reals.get((asked, chosen))) if at is not None)

    count = counted((len(servers), "virtual server"), (len(reals), "real server"))
    return Page(lines, count, {("server", each): at for each, at in servers.items()}, find)


def ipset_page(saved: str) -> Page:
    """`ipset list`, made of `ipset save`."""
    listing = list_ipsets(saved)
    members: dict[tuple[str, str], int] = {}
    for name, where in listing.members.items():
        members.update({(name, listing.lines[at].split(" ", 1)[0]): at for at in where})

    def find(hop: Hop) -> Iterator[int]:
        if hop.lookup is not None and hop.lookup.element is not None:
            found = members.get((hop.lookup.map, hop.lookup.element.split(" ", 1)[0]))
            if found is not None:
                yield found

    sections = {("set", name): at for name, at in listing.sets.items()}
    count = counted((len(sections), "set"), (len(members), "member"))
    return Page(listing.lines, count, sections, find, _folds(listing.members.values()))


def routes_page(lines: tuple[str, ...]) -> Page:
    """`ip route show table local`: the addresses that are the node's own."""
    where: dict[str, int] = {}
    for number, row in enumerate(lines):
        words = row.split()
        if words[:1] == ["local"] and len(words) > 1:
            where.setdefault(words[1], number)

    def find(hop: Hop) -> Iterator[int]:
        if hop.kind == "route":
            found = where.get(hop.before.dst.rpartition(":")[0].strip("[]"))
            if found is not None:
                yield found

    return Page(lines, counted((len(lines), "route")), {("address", each): at for each, at in where.items()}, find)


def bpf_page(name: str, dumped: str) -> Page:
    """`bpftool map dump` sorted by key (a hash table has no order), with what the bytes mean behind them."""
    entries = json.loads(dumped) if dumped else []
    rows = sorted((_bytes(each["key"]), _bytes(each["value"])) for each in entries)
    lines = [layout.dump_line(name, key, value) for key, value in rows]
    where = {layout.describe_key(name, key): number for number, (key, _) in enumerate(rows)}
    lines.append(f"Found {len(rows)} element{'' if len(rows) == 1 else 's'}")

    def find(hop: Hop) -> Iterator[int]:
        if hop.lookup is not None and hop.lookup.map == name and hop.lookup.key in where:
            yield where[hop.lookup.key]

    return Page(lines, counted((len(rows), "element")), {("map", name): 0}, find)


def ports_page(text: str) -> Page:
    """`ss -H -tulnp`: what listens, and whose it is."""
    lines = text.splitlines()
    where: dict[tuple[str, str], int] = {}
    for number, row in enumerate(lines):
        words = row.split()
        if len(words) > 4:
            where.setdefault((words[0], words[4].rpartition(":")[2]), number)

    def find(hop: Hop) -> Iterator[int]:
        if hop.kind in ("delivered", "proxy"):
            found = where.get((hop.before.proto, hop.before.dst.rpartition(":")[2]))
            if found is not None:
                yield found

    return Page(lines, counted((len(lines), "listening socket")), {}, find)


def counted(*parts: tuple[int, str]) -> str:
    """Return "2 rules · 1 chain"; what there is none of is left out, unless there is nothing at all."""
    said = [f"{count:,} {_plural(word, count)}" for count, word in parts if count]
    return " · ".join(said) or f"0 {_plural(parts[0][1], 0)}"


def family_of(hop: Hop) -> int:
    """Return 4 or 6, by the addresses of a hop's packet."""
    return 6 if hop.before.src.startswith("[") or hop.before.src.count(":") > 1 else 4


def _plural(word: str, count: int) -> str:
    return word if count == 1 else "sets and maps" if word == "set or map" else f"{word}s"


def _folds(runs: Iterable[range]) -> tuple[range, ...]:
    return tuple(each[SHOWN:] for each in runs if len(each) >= FOLD_FROM)


def _bytes(texts: list[str]) -> bytes:
    return bytes(int(each, 16) for each in texts)
