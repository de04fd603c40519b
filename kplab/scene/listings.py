"""What the commands that show a node's state print, and where in it a hop's rule, element or server stands.

Each proxy mode keeps its data path in another place, so each has other commands: `iptables-save`, `nft list table`,
`ipvsadm -Ln` with `ipset list` and the local routing table, `bpftool map dump`, `ss`. A `Listing` is one of them on
one node, as it would be typed there; its `Page` is made at first use, since it may have 100,000 lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from kplab.model.journey import Hop
from kplab.model.nft import NftTable
from kplab.model.topology import Topology
from kplab.scene import listing_pages as pages
from kplab.scene.listing_pages import Page
from kplab.trace.recording import NodeState, Save
from kplab.trace.rulesets import nft_of

PINNED = "/run/kplab/bpf"
"""Where eBPF mode's maps are pinned in a lab; a folder a node."""


_TABLE = re.compile(r'"table":\s*\{\s*"family":\s*"(\w+)",\s*"name":\s*"([^"]+)"')
"""A table among nft's JSON; in what belongs to one, "table" is its name alone."""


class Listing:
    """One command's output on one node."""

    def __init__(self, node: str, command: str, build: Callable[[], Page]) -> None:
        self.node = node
        self.command = command
        self._build = build

    @cached_property
    def page(self) -> Page:
        """The output."""
        return self._build()

    @property
    def title(self) -> str:
        """Node and command, as in a shell on the node, and how much it prints."""
        return f"{self.prompt} · {self.page.count}"

    @property
    def prompt(self) -> str:
        """Node and command, as in a shell on the node."""
        return f"{self.node}# {self.command}"


@dataclass(frozen=True, slots=True)
class Touched:
    """What a packet touched in one listing, as lines: by this hop, and by all hops so far."""

    now: frozenset[int] = frozenset()
    so_far: frozenset[int] = frozenset()


def listings(states: Iterable[NodeState]) -> tuple[Listing, ...]:
    """Return every listing that says something, in the order of the nodes, a mode's own tables first."""
    found: list[Listing] = []
    for state in states:
        own = [*_nft(state), *_ipvs(state), *_ebpf(state)]
        saves = [_saved(state.node, save) for save in state.saves if not (own and "-A " not in save.text)]
        found += [*own, *saves, *_listening(state)]
    return tuple(found)


def touched(listing: Listing, hops: Iterable[Hop], homes: Mapping[str, str]) -> Touched:
    """Return what the hops touched in a listing; the last of them is the one that is shown."""
    now: frozenset[int] = frozenset()
    so_far: set[int] = set()
    for hop in hops:
        here = homes.get(hop.node, hop.node) == listing.node
        now = frozenset(listing.page.find(hop)) if here else frozenset()
        so_far |= now
    return Touched(now, frozenset(so_far))


def homes_of(topology: Topology) -> dict[str, str]:
    """Return the node of every pod: its socket calls ask that node's maps."""
    return {each.name: each.node for each in topology.namespaces if each.node}


def _saved(node: str, save: Save) -> Listing:
    name = f"ip{'6' if save.family == 6 else ''}tables-{save.backend}-save"
    return Listing(node, name, partial(pages.iptables_page, save.text, save.family))


def _nft(state: NodeState) -> list[Listing]:
    """Tables by name alone: a listing of 50,000 rules is read when it is shown."""
    return [
        Listing(state.node, f"nft list table {family} {name}", partial(_table_page, state, family, name))
        for family, name in dict.fromkeys(_TABLE.findall(state.nft))
    ]


def _table_page(state: NodeState, family: str, name: str) -> Page:
    ruleset = nft_of(state)
    table = ruleset.table(family, name) if ruleset is not None else None
    return pages.nft_page(table or NftTable(family, name))


def _ipvs(state: NodeState) -> list[Listing]:
    found = []
    if state.ipvs_stats[0]:
        found.append(Listing(state.node, "ipvsadm -Ln", partial(pages.ipvs_page, state.ipvs_stats[0])))
    if state.ipset:
        found.append(Listing(state.node, "ipset list", partial(pages.ipset_page, state.ipset)))
    for command, six in (("ip route show table local", False), ("ip -6 route show table local", True)):
        routes = tuple(line for line in state.local_routes if (":" in line.partition(" dev ")[0]) == six)
        if routes:
            found.append(Listing(state.node, command, partial(pages.routes_page, routes)))
    return found


def _ebpf(state: NodeState) -> list[Listing]:
    return [
        Listing(
            state.node, f"bpftool map dump pinned {PINNED}/{state.node}/{name}", partial(pages.bpf_page, name, text)
        )
        for name, text in state.bpf_maps
    ]


def _listening(state: NodeState) -> list[Listing]:
    if not state.listening:
        return []
    return [Listing(state.node, "ss -H -tulnp", partial(pages.ports_page, state.listening))]
