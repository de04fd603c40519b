"""What was looked up: the latest question put to a map, a set or IPVS, as far as the play has come."""

from __future__ import annotations

from collections.abc import Sequence

from kplab.model.bpf_maps import BPF_MAPS, field_bytes
from kplab.model.journey import Hop, Lookup
from kplab.scene.frame import Asked, KeyField, WalkLine

_VALUE_SEPARATOR = " . "


def asks(hop: Hop) -> bool:
    """Tell whether a hop asked a map, a set or IPVS."""
    return hop.lookup is not None or hop.ipvs is not None


def asked_at(hops: Sequence[Hop], index: int) -> Asked | None:
    """Return the latest question up to hop `index` (0-based), None before the first."""
    for i in range(index, -1, -1):
        hop = hops[i]
        if asks(hop):
            fields = key_fields(hop.lookup.key, hop.lookup.map) if hop.lookup is not None else ()
            where = " · ".join(part for part in (hop.node, hop.hook, hop.table, hop.chain) if part)
            return Asked(where, hop.lookup, fields, hop.ipvs, here=i == index)
    return None


def key_fields(key: str, name: str = "") -> tuple[KeyField, ...]:
    """Take a key apart: "ip daddr . th dport = 10.96.0.42 . 80" has two fields, in this order.

    `name` is the map's; a BPF map's key is "address 10.96.0.42, dport 80", and each field has its bytes. A key without
    names, or with another number of values than names, is one field.
    """
    if name in BPF_MAPS:
        pairs = [part.partition(" ") for part in key.split(", ")]
        return tuple(KeyField(field, value, field_bytes(field, value)) for field, _, value in pairs)
    names, parted, values = key.partition(" = ")
    if not parted:
        return (KeyField("key", key),)
    columns = names.split(_VALUE_SEPARATOR), values.split(_VALUE_SEPARATOR)
    if len(columns[0]) != len(columns[1]):
        return (KeyField(names, values),)
    return tuple(KeyField(field.strip(), value.strip()) for field, value in zip(*columns, strict=True))


def counted(lookup: Lookup) -> str:
    """Say how much was asked: "1 lookup among 24,000 elements"; of an unknown number, "1 lookup"."""
    if lookup.elements <= 0:
        return "1 lookup"
    return f"1 lookup among {lookup.elements:,} element{'s' if lookup.elements != 1 else ''}"


def answer_of(lookup: Lookup) -> str:
    """Return what the element leads to: the part behind its key, or all of it; or that there is none."""
    if lookup.element is None:
        return "no element"
    _, parted, data = lookup.element.rpartition(" : ")
    return f"→ {data}" if parted else lookup.element


def lookup_line(hop: Hop, lookup: Lookup) -> WalkLine:
    """Return a lookup that is no rule's, as a line of the walk."""
    values = lookup.key.partition(" = ")[2] or lookup.key
    note = f"{answer_of(lookup)} ({counted(lookup)})"
    return WalkLine(
        "lookup", hop.chain or hop.hook or "?", hop.depth, None, f"{lookup.map}: {values}", note, 0, hop.evidence,
        full=lookup.element or "", disagreement=hop.disagreement,
    )  # fmt: skip
