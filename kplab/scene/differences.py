"""What differs between two modes in one step, in one line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kplab.model.journey import Hop
from kplab.scene.side_by_side import Row, Story
from kplab.scene.timeline import label_of
from kplab.trace.compare_tally import rewrites, rules_tried

_WALKS = ("rule", "chain", "lookup")
_ALONE = {
    "socket": "the address is exchanged in the program's call, before there is a packet",
    "proxy": "a process takes the bytes, and sends them on by a connection of its own",
    "IPVS": "IPVS chooses the endpoint, no rule does",
    "DNAT": "the destination is rewritten by a rule of nat",
    "SNAT": "the source is rewritten",
    "reverse NAT": "conntrack turns the reply's addresses back",
    "conntrack": "this mode leaves an entry in conntrack",
    "delivered": "the packet has come to its end there",
}
"""Why a step of one mode may have nothing beside it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One step's difference."""

    text: str
    same: bool
    """Whether both do the same in this step."""


def difference(row: Row, left: Story, right: Story) -> Difference:
    """Say what differs in a step."""
    one = left.journey.hops[row.left] if row.left is not None else None
    other = right.journey.hops[row.right] if row.right is not None else None
    if one is not None and other is not None:
        return _both(one, other, (left.name, right.name))
    if one is not None:
        return _alone(one, left.name, right.name, together=row.together)
    assert other is not None  # noqa: S101 - a row has one hop at least
    return _alone(other, right.name, left.name, together=row.together)


def next_difference(rows: Sequence[Row], at: int, by: int, left: Story, right: Story) -> int:
    """Return the next step (0-based) after `at` (before it, for `by` -1) that is not the same in both, else `at`."""
    order = range(at + 1, len(rows)) if by > 0 else range(at - 1, -1, -1)
    return next((n for n in order if not difference(rows[n], left, right).same), at)


def _alone(hop: Hop, name: str, without: str, *, together: bool) -> Difference:
    if together:
        chain = hop.chain or hop.hook or hop.node
        return Difference(f"{name} goes on: {_cost(hop)} in {chain}; {without} is through here", False)
    if hop.kind in _WALKS:
        where = f"{hop.chain} at {hop.hook}" if hop.chain else hop.hook or hop.node
        return Difference(f"only {name}: {_cost(hop)} in {where}", False)
    why = f": {_ALONE[hop.kind]}" if hop.kind in _ALONE else ""
    place = "from" if hop.kind == "link" else "in"
    return Difference(f"only {name}: {label_of(hop)} {place} {hop.node}{why}", False)


def _both(one: Hop, other: Hop, names: tuple[str, str]) -> Difference:
    found = _unlike(one, other, names)
    if not found and one.evidence != other.evidence:
        found = f"{names[0]}: {one.evidence}, {names[1]}: {other.evidence}, the step is the same"
    return Difference(found or "the same in both", not found)


def _unlike(one: Hop, other: Hop, names: tuple[str, str]) -> str:
    """Return what differs between two hops, "" for nothing; the first reason that a reader needs."""
    if one.kind in _WALKS and other.kind in _WALKS:
        costs = _cost(one), _cost(other)
        return _told(names, costs) if costs != costs[:1] * 2 else _places(one, other, names)
    if rewrites(one) or rewrites(other):
        changes = _change(one), _change(other)
        return "" if (one.kind, changes[0]) == (other.kind, changes[1]) else _told(names, changes)
    if label_of(one) != label_of(other) and one.kind != "link":
        return f"here they part: {_told(names, (label_of(one), label_of(other)))}"
    return _places(one, other, names) or _headers(one, other, names)


def _told(names: tuple[str, str], what: tuple[str, str]) -> str:
    return f"{names[0]}: {what[0]} | {names[1]}: {what[1]}"


def _cost(hop: Hop) -> str:
    """Say what a hop of a walk cost: "16 rules", "1 rule, 1 lookup among 20"; a chain's end may cost nothing."""
    rules = rules_tried(hop)
    if not rules and hop.lookup is None:
        return "no rule is left"
    parts = [f"{rules:,} rule{'s' if rules != 1 else ''}"] if rules or hop.lookup is None else []
    if hop.lookup is not None:
        among = f" among {hop.lookup.elements:,}" if hop.lookup.elements > 0 else ""
        parts.append(f"1 lookup{among}")
    return ", ".join(parts)


def _change(hop: Hop) -> str:
    """Say what a hop rewrote: "DNAT 10.96.0.42:80 ⇒ 10.244.1.10:8080"; of a source the port is left out."""
    if not rewrites(hop):
        return f"{label_of(hop)}, nothing is rewritten"
    changes = [
        f"{_known(old, hop)} ⇒ {_known(new, hop)}"
        for old, new in ((hop.before.dst, hop.after.dst), (hop.before.src, hop.after.src))
        if old != new
    ]
    return f"{label_of(hop)} {', '.join(changes)}"


def _places(one: Hop, other: Hop, names: tuple[str, str]) -> str:
    """Name the places where they differ: another node, another link, another interface."""
    for places in ((one.node, other.node), (one.peer or "", other.peer or "")):
        if places[0] != places[1]:
            return _told(names, (f"in {one.node}", f"in {other.node}") if places[0] == one.node else _links(one, other))
    if one.kind == "route" and one.interface != other.interface:
        return _told(names, (_way(one), _way(other)))
    return ""


def _way(hop: Hop) -> str:
    return f"out by {hop.interface}" if hop.interface else "to the node itself"


def _links(one: Hop, other: Hop) -> tuple[str, str]:
    return f"to {one.peer}", f"to {other.peer}"


def _headers(one: Hop, other: Hop, names: tuple[str, str]) -> str:
    """Tell apart the addresses that the packets carry; a program's own port is another at each connection."""
    for name, title in (("dst", "destination"), ("src", "source")):
        ends = _known(getattr(one.after, name), one), _known(getattr(other.after, name), other)
        if ends[0] != ends[1]:
            return f"{title}: {_told(names, ends)}"
    return ""


def _known(end: str, hop: Hop) -> str:
    """Return an end of a flow; of the asker's, only the host: its port is another at each connection."""
    asker = hop.before.src if hop.direction == "request" else hop.before.dst
    turned = hop.after.src if hop.direction == "request" else hop.after.dst
    return end.rpartition(":")[0] if end in (asker, turned) and ":" in end else end
