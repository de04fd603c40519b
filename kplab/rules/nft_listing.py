"""A table of nf_tables' own -> the lines of `nft list table` (nftables 1.0.6), and where in them each thing stands.

Sets and maps come first, then chains, as nft has them. Each element has a line of its own, with blanks for tabs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

from kplab.model.nft import NftChain, NftRule, NftSet, NftTable

_STEP = "    "
_NAMES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
"""nft(8), standard priority names of the families ip, ip6 and inet."""
_ONLY_AT = {"dstnat": "prerouting", "srcnat": "postrouting"}
_NEAR = 10
"""A priority that is no further from a name's is printed as that name and the difference."""
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


class Lines(Sequence[str]):
    """The lines of a listing; a rule is written when its line is asked for, of which there may be 60,000."""

    def __init__(self) -> None:
        self.held: list[str | NftRule] = []

    def __len__(self) -> int:
        return len(self.held)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [_written(each) for each in self.held[index]]
        return _written(self.held[index])


def _written(held: str | NftRule) -> str:
    return held if isinstance(held, str) else f"{_STEP * 2}{held.text}"


@dataclass(slots=True)
class NftListing:
    """The lines, and indexes into them."""

    lines: Lines = field(default_factory=Lines)
    chains: dict[str, int] = field(default_factory=dict)
    """A chain's name -> the line that it begins with."""
    rules: dict[str, range] = field(default_factory=dict)
    """A chain's name -> the lines of its rules."""
    sets: dict[str, int] = field(default_factory=dict)
    """A set's or map's name -> the line that it begins with."""
    elements: dict[str, range] = field(default_factory=dict)
    """A set's or map's name -> the lines of its elements."""


def list_table(table: NftTable) -> NftListing:
    """Return what `nft list table FAMILY NAME` prints."""
    listing = NftListing()
    lines = listing.lines.held
    lines.append(f"table {table.family} {table.name} {{")
    if table.comment is not None:
        lines.append(f'{_STEP}comment "{table.comment}"')
    for each in table.sets.values():
        _list_set(listing, each)
    for chain in table.chains.values():
        _list_chain(listing, chain)
    if not lines[-1]:
        lines.pop()
    lines.append("}")
    return listing


def element_of_line(line: str) -> str:
    """Return the element of a line of a set or map: without the frame's blanks, braces and comma."""
    return line.strip().removeprefix("elements = { ").removesuffix(" }").removesuffix(",")


def _list_set(listing: NftListing, each: NftSet) -> None:
    lines = listing.lines.held
    listing.sets[each.name] = len(lines)
    lines.append(f"{_STEP}{'set' if each.values is None else 'map'} {each.name} {{")
    values = "" if each.values is None else f" : {each.values}"
    lines.append(f"{_STEP * 2}type {' . '.join(each.type)}{values}")
    if each.size is not None:
        lines.append(f"{_STEP * 2}size {each.size}")
    if each.flags:
        lines.append(f"{_STEP * 2}flags {','.join(each.flags)}")
    if each.timeout is not None:
        lines.append(f"{_STEP * 2}timeout {duration(each.timeout)}")
    if each.comment is not None:
        lines.append(f'{_STEP * 2}comment "{each.comment}"')
    first = len(lines)
    lines.extend(_elements(each))
    listing.elements[each.name] = range(first, len(lines))
    lines += [f"{_STEP}}}", ""]


def _elements(each: NftSet) -> Iterator[str]:
    count = len(each.elements)
    for number, text in enumerate(element.text for element in each.elements):
        head = "elements = { " if number == 0 else "             "
        yield f"{_STEP * 2}{head}{text}{' }' if number == count - 1 else ','}"


def _list_chain(listing: NftListing, chain: NftChain) -> None:
    lines = listing.lines.held
    listing.chains[chain.name] = len(lines)
    lines.append(f"{_STEP}chain {chain.name} {{")
    if chain.comment is not None:
        lines.append(f'{_STEP * 2}comment "{chain.comment}"')
    if chain.hook is not None:
        priority = priority_text(chain.priority or 0, chain.hook)
        policy = f" policy {chain.policy};" if chain.policy else ""
        lines.append(f"{_STEP * 2}type {chain.type} hook {chain.hook} priority {priority};{policy}")
    first = len(lines)
    lines.extend(chain.rules)
    listing.rules[chain.name] = range(first, len(lines))
    lines += [f"{_STEP}}}", ""]


def priority_text(priority: int, hook: str) -> str:
    """Return a priority as nft prints it: by name where one is near ("dstnat", "filter + 5"), else the number."""
    for name, value in _NAMES.items():
        far = priority - value
        if abs(far) <= _NEAR and _ONLY_AT.get(name, hook) == hook:
            return name if far == 0 else f"{name} {'+' if far > 0 else '-'} {abs(far)}"
    return str(priority)


def duration(seconds: int) -> str:
    """Return seconds as nft prints them: 10800 is "3h"."""
    found = ""
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        found += f"{count}{unit}" if count else ""
    return found or "0s"
