"""Which packet caused which conntrack event.

The kernel sends "new" when an entry is confirmed, at the very end of POSTROUTING or INPUT of its first packet, and
then at most one "update" a packet, when that packet has passed (nf_ct_deliver_cached_events). The event does not
name the packet; its order does, with what TCP's state or the entry's status say must have come.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from kplab.model.journey import Direction
from kplab.model.packet import Headers
from kplab.trace.entries import ASSURED, SEEN_REPLY, Entry
from kplab.trace.events import CtChange, KernelEvent

Change = tuple[KernelEvent, CtChange]


@dataclass(frozen=True, slots=True)
class Passing:
    """A packet that passed a node whole, and the entry that it belongs to there."""

    life: int
    """Identity of the packet's life in the node; a packet may come by twice."""
    entry: Entry
    direction: Direction
    headers: Headers
    closed: frozenset[Direction] = frozenset()
    """The directions in which a FIN had gone before this packet."""


def assign_changes(passings: list[Passing]) -> dict[int, list[Change]]:
    """Return the events that each life caused. `passings` are in packet order."""
    by_entry: dict[int, list[Passing]] = defaultdict(list)
    for passing in passings:
        group = by_entry[id(passing.entry)]
        group.append(replace(passing, closed=_closed_after(group[-1]) if group else frozenset()))
    caused: dict[int, list[Change]] = defaultdict(list)
    for group in by_entry.values():
        at, status = 0, 0
        for event, change in group[0].entry.changes:
            fresh, status = change.status & ~status, change.status
            place = next((i for i in range(at, len(group)) if _fits(group[i], change, fresh)), None)
            if place is None:
                continue
            caused[group[place].life].append((event, change))
            at = place + 1
    return dict(caused)


def _closed_after(passing: Passing) -> frozenset[Direction]:
    fin = "F" in (passing.headers.flags or "")
    return passing.closed | {passing.direction} if fin else passing.closed


def _fits(passing: Passing, change: CtChange, fresh: int) -> bool:
    """Say whether this packet can have caused the change (tcp_conntracks in nf_conntrack_proto_tcp.c)."""
    if change.change == "new":
        return passing.direction == "request"
    if change.change == "destroy":
        # Most entries end by their timeout; a RST that answers the SYN ends one at once.
        return passing.direction == "reply" and "R" in (passing.headers.flags or "")
    if fresh & SEEN_REPLY:
        return passing.direction == "reply"
    flags = passing.headers.flags
    if flags is None or change.state is None:
        return bool(fresh & ASSURED) or change.state is not None
    own_closed = passing.direction in passing.closed
    return {
        "SYN_SENT": "S" in flags and "A" not in flags,
        "SYN_RECV": "S" in flags and "A" in flags,
        "ESTABLISHED": "A" in flags and "S" not in flags,
        "FIN_WAIT": "F" in flags and not passing.closed,
        "CLOSE_WAIT": "F" not in flags and bool(passing.closed) and not own_closed,
        "LAST_ACK": "F" in flags and bool(passing.closed) and not own_closed,
        "TIME_WAIT": "F" not in flags and len(passing.closed) == 2,
        "CLOSE": "R" in flags,
    }.get(change.state, True)
