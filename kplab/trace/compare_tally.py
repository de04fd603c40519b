"""What a journey has cost so far, hop by hop: rules tried, lookups, rewritten addresses, entries made. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kplab.model.journey import Hop


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts from a journey's first hop up to one of its hops."""

    rules: int = 0
    """Rules tried: those passed over, and those that matched."""
    lookups: int = 0
    """Maps and sets that were asked."""
    rewritten: int = 0
    """Hops that rewrote an address."""
    conntrack: int = 0
    """conntrack entries made, on all nodes."""
    ipvs: int = 0
    """IPVS's connection entries made."""


def tallies(hops: Sequence[Hop]) -> tuple[Tally, ...]:
    """Return the counts after each hop."""
    found: list[Tally] = []
    entries: set[object] = set()
    connections: set[object] = set()
    before = Tally()
    for hop in hops:
        if hop.conntrack is not None and hop.conntrack.change == "new":
            entries.add((hop.node, hop.conntrack.original, hop.conntrack.reply))
        if hop.ipvs is not None and hop.ipvs.connection:
            connections.add(hop.ipvs.connection)
        before = Tally(
            rules=before.rules + rules_tried(hop),
            lookups=before.lookups + (hop.lookup is not None),
            rewritten=before.rewritten + rewrites(hop),
            conntrack=len(entries),
            ipvs=len(connections),
        )
        found.append(before)
    return tuple(found)


def total(hops: Sequence[Hop]) -> Tally:
    """Return the counts after the last hop; of no hops, none."""
    counted = tallies(hops)
    return counted[-1] if counted else Tally()


def rules_tried(hop: Hop) -> int:
    """Return how many rules this hop stands for: those passed over, and the one that matched."""
    if hop.kind not in ("rule", "chain"):
        return 0
    return len(hop.skipped) + (hop.rule is not None)


def rewrites(hop: Hop) -> bool:
    """Tell whether an address was rewritten in this hop; what differs after a link was rewritten elsewhere."""
    return hop.kind != "link" and (hop.before.src, hop.before.dst) != (hop.after.src, hop.after.dst)
