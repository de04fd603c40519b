"""What nftables mode compiles to: exactly what kube-proxy would send to `nft -f -`, as a value.

A program is a fixed part, which every full sync writes, and a block for each service port. kube-proxy keeps in
memory which elements its sets and maps hold and sends only what differs; chains are rewritten where a Service
or its endpoints changed. `NftablesProgram.transaction` is a full sync, `difference` a later one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from kplab.model.cluster import Family
from kplab.modes.nft_objects import (
    NftChain,
    NftElement,
    NftObject,
    NftRule,
    NftSet,
    NftTable,
    Statement,
    statement_text,
    table_words,
)
from kplab.modes.nft_writing import NOTHING, ElementKey, NftHeld, NftTransaction, Writing
from kplab.modes.nftables_fixed import TABLE_LINE, fresh_hooks
from kplab.modes.nftables_names import own_chains, own_sets
from kplab.modes.nftables_settings import NftSettings
from kplab.modes.units import Unit, Units


@dataclass(frozen=True, slots=True)
class NftBlock:
    """One service port's share of a program, in kube-proxy's order."""

    owner: str
    """"ns/name:port"."""
    unit: Unit = field(compare=False, repr=False)
    """The service port and its endpoints: equal ones (and equal settings) give equal blocks."""
    opening: tuple[NftChain | NftElement, ...]
    """Chains, to be made and emptied, and elements."""
    filling: tuple[NftRule | NftSet, ...]
    """Rules, and the sets that remember clients."""
    elements: tuple[NftElement, ...] = field(compare=False, repr=False)
    """The elements of `opening`."""
    chains: tuple[str, ...] = field(compare=False, repr=False)
    """The names of its chains."""
    sets: tuple[str, ...] = field(compare=False, repr=False)
    """The names of the sets of `filling`."""

    @property
    def service(self) -> str:
        """Its Service, "ns/name": a change is counted by whole Services."""
        return self.owner.partition(":")[0]


def new_block(
    owner: str, unit: Unit, opening: list[NftChain | NftElement], filling: list[NftRule | NftSet]
) -> NftBlock:
    """Return a block of what was written for a service port."""
    return NftBlock(
        owner,
        unit,
        tuple(opening),
        tuple(filling),
        tuple([what for what in opening if isinstance(what, NftElement)]),
        tuple([what.name for what in opening if isinstance(what, NftChain)]),
        tuple([what.name for what in filling if isinstance(what, NftSet)]),
    )


@dataclass(frozen=True, slots=True)
class NftTableView:
    """A program's table as the kernel is to hold it."""

    table: NftTable
    chains: dict[str, NftChain]
    rules: dict[str, list[NftRule]]
    """Of every chain, in order."""
    sets: dict[str, NftSet]
    """Sets and maps."""
    elements: dict[str, dict[str, NftElement]]
    """Of every set and map, by key."""


@dataclass(frozen=True, slots=True)
class NftablesProgram:
    """All of one family's table."""

    family: Family
    frame: tuple[Statement, ...]
    """The fixed part: base chains, checks, sets and maps."""
    blocks: tuple[NftBlock, ...]
    """The service ports' parts, by name."""
    settings: NftSettings
    """What the rules depend on besides Services and endpoints."""
    endpoints: int = 0
    """How many endpoints there are in all, usable or not."""
    units: Units | None = field(default=None, compare=False, repr=False)
    """The service ports with their endpoints, as they were worked out."""

    def text(self) -> str:
        """Return what kube-proxy sends at its first sync on a node that has no table of its own yet."""
        return self.transaction().text()

    def transaction(self, held: NftHeld = NOTHING, *, first: bool = True) -> NftTransaction:
        """Return a full sync into a table that holds `held`.

        `first` is the first one after a start: it makes the base chains anew.
        """
        start = (TABLE_LINE, *(fresh_hooks() if first else ()), *self.frame)
        writing = Writing(self.family, [statement_text(statement, self.family) for statement in start])
        writing.blocks(self.blocks, wanted=self.elements(), held=held.elements)
        writing.clean(held.chains - self.chain_names(), held.sets - self.set_names())
        return writing.done()

    def elements(self, keys: Collection[ElementKey] | None = None) -> dict[ElementKey, NftElement]:
        """Return the service ports' elements by holder and key, or those of some keys.

        Two Services may claim the same key (an external IP, say): the later by name has it. kube-proxy
        changes its mind with the order of a Go map.
        """
        if keys is None:
            return {(e.holder, e.key): e for block in self.blocks for e in block.elements}
        return {key: e for block in self.blocks for e in block.elements if (key := (e.holder, e.key)) in keys}

    def chain_names(self) -> frozenset[str]:
        """Return the service ports' chains."""
        return frozenset([name for block in self.blocks for name in block.chains])

    def set_names(self) -> frozenset[str]:
        """Return the sets that remember clients."""
        return frozenset([name for block in self.blocks for name in block.sets])

    def held(self) -> NftHeld:
        """Return what the table holds of Services once this program is written."""
        values = {key: element.value for key, element in self.elements().items()}
        return NftHeld(values, self.chain_names(), self.set_names())

    def view(self) -> NftTableView:
        """Return the table that the first sync leaves in the kernel."""
        view = NftTableView(NftTable(), {}, {}, {}, {})
        for statement in (TABLE_LINE, *self.frame):
            _apply(view, statement)
        for block in self.blocks:
            for what in (*block.opening, *block.filling):
                _add(view, what)
        return view


def difference(
    before: NftablesProgram | None,
    after: NftablesProgram,
    *,
    changed: Collection[str] | None = None,
    chains: Iterable[str] | None = None,
    sets: Iterable[str] | None = None,
) -> NftTransaction:
    """Return the sync that leads from one program to the next.

    `changed` are the Services (`ns/name`) whose chains are rewritten; None: those that differ. `chains` and
    `sets` are all names in the kernel's table, which kube-proxy lists at each sync; None: those of `before`.
    Without a `before`, or with other settings, it is a full sync.
    """
    if before is None:
        return after.transaction()
    there = before.chain_names() if chains is None else own_chains(chains)
    remembering = before.set_names() if sets is None else own_sets(sets)
    if before.settings != after.settings:
        return after.transaction(NftHeld(before.held().elements, there, remembering), first=False)
    old, new = _by_owner(before), _by_owner(after)
    came = _others(after.blocks, old)
    gone = _others(before.blocks, new)
    rewritten = {block.service for block in (*came, *gone)} if changed is None else set(changed)
    differing = {block.owner for block in came}
    visited = [block for block in after.blocks if block.owner in differing or block.service in rewritten]
    keys = {(e.holder, e.key) for block in (*visited, *gone) for e in block.elements}
    writing = Writing(after.family, [])
    held = {key: element.value for key, element in before.elements(keys).items()}
    writing.blocks(visited, wanted=after.elements(keys), held=held, rewritten=rewritten)
    writing.clean(there - after.chain_names(), remembering - after.set_names())
    return writing.done()


def deletion(family: Family, stale: Iterable[str]) -> NftTransaction:
    """Return the transaction that deletes chains which earlier syncs emptied.

    kube-proxy sends it before a sync, for those that have been stale for more than a second: kernels before 6.2
    notice late that no element leads to a chain any more.
    """
    place = table_words(family)
    return NftTransaction(family, tuple(f"delete chain {place} {name}" for name in sorted(stale)), ())


def _others(blocks: Iterable[NftBlock], known: Mapping[str, NftBlock]) -> list[NftBlock]:
    """Those blocks that are not among the known; most are the very same objects."""
    return [block for block in blocks if (same := known.get(block.owner)) is not block and same != block]


def _by_owner(program: NftablesProgram) -> Mapping[str, NftBlock]:
    return {block.owner: block for block in program.blocks}


def _apply(view: NftTableView, statement: Statement) -> None:
    verb, what = statement
    if verb == "add":
        _add(view, what)
    elif isinstance(what, NftSet):
        view.elements[what.name] = {}
        if verb == "delete":
            del view.sets[what.name], view.elements[what.name]
    elif isinstance(what, NftChain):
        view.rules[what.name] = []


def _add(view: NftTableView, what: NftObject) -> None:
    match what:
        case NftTable():
            return
        case NftChain():
            view.chains[what.name] = what
            view.rules.setdefault(what.name, [])
        case NftRule():
            view.rules[what.chain].append(what)
        case NftSet():
            view.sets[what.name] = what
            view.elements.setdefault(what.name, {})
        case NftElement():
            view.elements[what.holder][what.key] = what
        case _:
            assert_never(what)
