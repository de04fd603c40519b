"""Writes one sync as the lines of one transaction, in kube-proxy's order.

Follows syncProxyRules of pkg/proxy/nftables/proxier.go, v1.36: service port after service port, an element
only where it is new or another; then stale chains are emptied, sets that remember clients deleted, and last
the elements that nothing wants any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kplab.model.cluster import Family
from kplab.modes.nft_objects import (
    NftChain,
    NftElement,
    NftRule,
    NftSet,
    Statement,
    deleted_element_line,
    element_line,
    rule_line,
    statement_text,
    table_words,
)

ElementKey = tuple[str, str]
"""The set or map, and the key in it."""

SERVICE_HOLDERS = (
    "cluster-ips",
    "service-ips",
    "firewall-ips",
    "no-endpoint-services",
    "no-endpoint-nodeports",
    "service-nodeports",
    "hairpin-connections",
)
"""The sets and maps whose elements come from Services, in the order in which leftovers are deleted."""


@dataclass(frozen=True, slots=True)
class NftHeld:
    """What a table holds of Services already, as far as a sync needs to know."""

    elements: Mapping[ElementKey, str] = field(default_factory=dict)
    """The verdict of each element; "" in a set. Those of other sets than SERVICE_HOLDERS are left alone."""
    chains: frozenset[str] = frozenset()
    """Chains of service ports and endpoints."""
    sets: frozenset[str] = frozenset()
    """Sets that remember clients."""


NOTHING = NftHeld()
"""There is no table yet."""


@dataclass(frozen=True, slots=True)
class NftTransaction:
    """One run of `nft -f -`: all of it, or nothing."""

    family: Family
    lines: tuple[str, ...]
    stale: tuple[str, ...] = ()
    """Chains that it empties and that nothing leads to any more: to be deleted a second later or more."""

    def text(self) -> str:
        """Return its standard input; empty where there is nothing to say (kube-proxy runs nft all the same)."""
        return "\n".join(self.lines) + "\n" if self.lines else ""


class Block(Protocol):
    """What a service port has in a program; see `nft_program.NftBlock`."""

    @property
    def service(self) -> str:
        """Its Service."""
        ...

    @property
    def opening(self) -> tuple[NftChain | NftElement, ...]:
        """Its chains and elements."""
        ...

    @property
    def filling(self) -> tuple[NftRule | NftSet, ...]:
        """Its rules and sets."""
        ...


class Writing:
    """A transaction in the making."""

    def __init__(self, family: Family, lines: list[str]) -> None:
        self._family = family
        self._lines = lines
        self._place = table_words(family)
        self._leftover: list[ElementKey] = []
        self._stale: tuple[str, ...] = ()

    def blocks(
        self,
        blocks: Iterable[Block],
        *,
        wanted: Mapping[ElementKey, NftElement],
        held: Mapping[ElementKey, str],
        rewritten: Collection[str] | None = None,
    ) -> None:
        """Write service ports' parts: elements of `wanted` that `held` lacks, and chains.

        `rewritten` are the Services whose chains are written; None: all.
        """
        lines, place = self._lines, self._place
        left = dict(wanted)
        for block in blocks:
            whole = rewritten is None or block.service in rewritten
            for what in block.opening:
                if isinstance(what, NftElement):
                    element = left.pop((what.holder, what.key), None)
                    if element is not None:
                        self._ensure(element, held)
                elif whole:
                    lines += (f"add chain {place} {what.name}", f"flush chain {place} {what.name}")
            for thing in block.filling if whole else ():
                lines.append(
                    rule_line(thing, place)
                    if isinstance(thing, NftRule)
                    else statement_text(Statement("add", thing), self._family)
                )
        for element in left.values():
            self._ensure(element, held)
        self._leftover = [key for key in held if key not in wanted and key[0] in SERVICE_HOLDERS]

    def clean(self, chains: Iterable[str], sets: Iterable[str]) -> None:
        """Empty stale chains, delete stale sets, and delete the elements that nothing wants any more."""
        place = self._place
        self._stale = tuple(sorted(chains))
        self._lines += [f"flush chain {place} {name}" for name in self._stale]
        self._lines += [f"delete set {place} {name}" for name in sorted(sets)]
        for holder, key in sorted(self._leftover, key=lambda left: (SERVICE_HOLDERS.index(left[0]), left[1])):
            self._lines.append(deleted_element_line(holder, key, place))

    def done(self) -> NftTransaction:
        """Return the transaction."""
        return NftTransaction(self._family, tuple(self._lines), self._stale)

    def _ensure(self, element: NftElement, held: Mapping[ElementKey, str]) -> None:
        """Add an element; one with another verdict is deleted first, for nft refuses to change it."""
        value = held.get((element.holder, element.key))
        if value == element.value:
            return
        if value is not None:
            self._lines.append(deleted_element_line(element.holder, element.key, self._place))
        self._lines.append(element_line(element, self._place))
