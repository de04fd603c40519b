"""Sets and maps asked about a packet: the key as it is put together, and the element that answers.

A lookup is one, however many elements there are: the kernel asks a hash table, or for intervals a tree
(net/netfilter/nft_set_hash.c, nft_set_pipapo.c, nft_set_rbtree.c).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from kplab.model.journey import Lookup
from kplab.model.nft import Concat, Constant, Element, Elements, Expression, NftSet, Prefix, Range, SetName, Value
from kplab.trace.matching import Probe
from kplab.trace.nft_values import Got, Hidden, Missing, number, value_of, words


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of one lookup."""

    lookup: Lookup
    element: Element | None
    open: str = ""
    """Why the answer is not known, if it is not."""
    missing: str = ""
    """Why the packet has no such key, if it has none."""


def ask(key: Expression, data: SetName | Elements, sets: Mapping[str, NftSet], probe: Probe) -> Asked:
    """Look the packet's key up."""
    named = sets.get(data.name) if isinstance(data, SetName) else None
    elements = named.elements if named is not None else data if isinstance(data, Elements) else None
    parts = key.parts if isinstance(key, Concat) else (key,)
    answers = [value_of(part, probe) for part in parts]
    shown = " . ".join(str(each.value) if isinstance(each, Got) else "?" for each in answers)
    name = data.name if isinstance(data, SetName) else "(anonymous)"
    count = len(elements) if elements is not None else 0
    lookup = Lookup(name, f"{words(key)} = {shown}", None, count)
    missing = next((each.reason for each in answers if isinstance(each, Missing)), "")
    if missing:
        return Asked(lookup, None, missing=missing)
    if elements is None:
        return Asked(lookup, None, open=f"{name} was not read")
    hidden = next((each.reason for each in answers if isinstance(each, Hidden)), "")
    if hidden:
        values = [each.value if isinstance(each, Got) else None for each in answers]
        return Asked(lookup, None, open=hidden if _possible(elements, values) else "")
    element = find(elements, tuple(each.value for each in answers if isinstance(each, Got)), parts)
    text = element.text if element is not None else None
    return Asked(Lookup(lookup.map, lookup.key, text, lookup.elements), element)


def _possible(elements: Elements, values: list[Value | None]) -> bool:
    """Say whether any element agrees with the values that are known."""
    for key in elements.plain_keys():
        if len(key) == len(values) and all(own in (None, wanted) for own, wanted in zip(values, key, strict=True)):
            return True
    return any(True for _ in elements.loose())


def find(elements: Elements, key: tuple[Value, ...], parts: tuple[Expression, ...]) -> Element | None:
    """Return the element that holds this key, or None."""
    exact = elements.exact(key)
    if exact is not None:
        return exact
    everything = None
    for element in elements.loose():
        if element.key == (Constant("*"),):
            everything = element
        elif len(element.key) == len(key) and all(
            covers(wanted, own) for wanted, own in zip(element.key, key, strict=True)
        ):
            return element
    named = next((e for e in elements if _named(e, key, parts)), None) if _has_names(parts) else None
    return named or everything


def _has_names(parts: tuple[Expression, ...]) -> bool:
    return any(number(part, "echo-request") != "echo-request" for part in parts)


def _named(element: Element, key: tuple[Value, ...], parts: tuple[Expression, ...]) -> bool:
    """Say whether an element holds the key by names that stand for numbers."""
    return len(element.key) == len(key) and all(
        isinstance(wanted, Constant) and number(part, wanted.value) == own
        for wanted, own, part in zip(element.key, key, parts, strict=True)
    )


def covers(wanted: Constant | Prefix | Range, own: Value) -> bool:
    """Say whether a value, a prefix or a range holds the packet's value."""
    if isinstance(wanted, Prefix):
        return _in_network(wanted, own)
    if isinstance(wanted, Range):
        low, high, middle = _ordered(wanted.low), _ordered(wanted.high), _ordered(own)
        return low is not None and high is not None and middle is not None and low <= middle <= high
    if isinstance(wanted.value, str) and isinstance(own, str):
        if wanted.value.endswith("*"):
            return own.startswith(wanted.value[:-1])
        return wanted.value == own or (":" in own and _ordered(wanted.value) == _ordered(own) is not None)
    return wanted.value == own


def _in_network(wanted: Prefix, own: Value) -> bool:
    try:
        return ip_address(own) in wanted.network
    except ValueError:
        return False


def _ordered(value: Value) -> int | None:
    """Return a number, or an address as one."""
    if isinstance(value, int):
        return value
    try:
        return int(ip_address(value))
    except ValueError:
        return None
