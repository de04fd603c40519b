"""Conntrack entries of one node: from its events and from `conntrack -L -o extended,id`, joined by id.

An entry holds two tuples: the packet as its sender made it, and the answer as it comes back. NAT is the difference
between the two; that is all that undoes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from kplab.model.journey import CtEntry, Direction, Flow
from kplab.trace.events import CtChange, KernelEvent, Tuple
from kplab.trace.identity import Ends, turned

SEEN_REPLY, ASSURED, SRC_NAT, DST_NAT = 1 << 1, 1 << 2, 1 << 4, 1 << 5
"""IPS_* of include/uapi/linux/netfilter/nf_conntrack_common.h."""

_FIELD = re.compile(r"\b(src|dst|sport|dport|type|code|id)=(\S+)")
_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "icmpv6": 58, "sctp": 132}


@dataclass(slots=True)
class Entry:
    """One entry, with what was seen of it."""

    node: str
    id: int | None
    original: Tuple
    reply: Tuple
    state: str | None = None
    line: str = ""
    """As it was listed last, or made up in that form when it was never listed."""
    listed: bool = False
    before: bool = False
    """Whether it was there before the packet was sent."""
    line_before: str = ""
    """As it was listed then."""
    told: CtChange | None = None
    """The latest change that a hop has shown."""
    changes: list[tuple[KernelEvent, CtChange]] = field(default_factory=list)

    def shown(self, change: CtChange | None, kind: Literal["new", "update", "destroy", "used"]) -> CtEntry:
        """Return it as it was at this hop: at the moment of `change`, else as the hops before left it.

        Hops are told in the order of packets. What is listed after the last packet is not shown before it: a
        connection that has ended since would be seen in TIME_WAIT at its first SYN.
        """
        self.told = change or self.told
        if self.told is not None:
            line, state = _made_up(self, self.told), self.told.state
        elif self.line_before:
            found = read_line(self.line_before)
            line, state = self.line_before, found[3] if found else None
        else:
            line, state = self.line, self.state
        return CtEntry(
            id=self.id,
            change=kind,
            line=line,
            original=flow_of_ends(ends_of_tuple(self.original)),
            reply=flow_of_ends(ends_of_tuple(self.reply)),
            state=state,
        )


@dataclass(slots=True)
class Entries:
    """All that is known of one node's table."""

    by_id: dict[int, Entry] = field(default_factory=dict)
    others: list[Entry] = field(default_factory=list)

    def all(self) -> list[Entry]:
        """Return every entry."""
        return [*self.by_id.values(), *self.others]

    def find(self, ends: Ends) -> tuple[Entry, Direction] | None:
        """Return the entry that a packet with these ends belongs to, and which direction of it; the latest wins."""
        for entry in reversed(self.all()):
            if ends_of_tuple(entry.original) == ends:
                return entry, "request"
            if ends_of_tuple(entry.reply) == ends:
                return entry, "reply"
        return None


def find_entries(node: str, events: Iterable[KernelEvent], before: Iterable[str], after: Iterable[str]) -> Entries:
    """Join one node's conntrack events (in their own order) with the lines that were listed before and after."""
    entries = Entries()
    for line in before:
        _list(entries, node, line, before=True)
    for event in events:
        what = event.what
        if not isinstance(what, CtChange) or event.node != node:
            continue
        entry = entries.by_id.get(what.id)
        if entry is None:
            entry = entries.by_id[what.id] = Entry(node, what.id, what.original, what.reply)
        entry.changes.append((event, what))
        entry.original, entry.reply = what.original, what.reply
        entry.state = what.state or entry.state
        if not entry.listed:
            entry.line = _made_up(entry, what)
    for line in after:
        _list(entries, node, line, before=False)
    return entries


def _list(entries: Entries, node: str, line: str, *, before: bool) -> None:
    found = read_line(line)
    if found is None:
        return
    number, original, reply, state = found
    entry = entries.by_id.get(number) if number is not None else None
    if entry is None:
        entry = Entry(node, number, original, reply)
        if number is None:
            entries.others.append(entry)
        else:
            entries.by_id[number] = entry
    entry.line, entry.listed, entry.state = line, True, state or entry.state
    entry.before = entry.before or before
    entry.line_before = line if before else entry.line_before


def read_line(line: str) -> tuple[int | None, Tuple, Tuple, str | None] | None:
    """Take a line of `conntrack -L -o extended,id` apart: id, original, reply, TCP state; None if it is none."""
    words = line.split()
    at = next((i for i, word in enumerate(words) if word.startswith("src=")), None)
    if at is None or at < 2:
        return None
    proto = words[2] if words[0] in ("ipv4", "ipv6") else words[0]
    state = words[at - 1] if words[at - 1].isupper() else None
    fields = _FIELD.findall(line)
    starts = [i for i, (name, _) in enumerate(fields) if name == "src"]
    if len(starts) != 2:
        return None
    tail = fields[starts[1] :]
    sizes = 5 if "icmp" in proto else 4 if any(name == "sport" for name, _ in tail) else 2
    number = next((value for name, value in tail[sizes:] if name == "id"), None)
    original, reply = _tuple(proto, fields[starts[0] : starts[1]]), _tuple(proto, tail[:sizes])
    if original is None or reply is None:
        return None
    return int(number) if number and number.isdigit() else None, original, reply, state


def _tuple(proto: str, fields: list[tuple[str, str]]) -> Tuple | None:
    values = dict(fields)
    if "src" not in values or "dst" not in values:
        return None
    if "type" in values:
        icmp = (int(values["type"]), int(values.get("code", "0")), int(values.get("id", "0")))
        return Tuple(values["src"], values["dst"], proto, icmp=icmp)
    port = {name: int(values[name]) for name in ("sport", "dport") if values.get(name, "").isdigit()}
    return Tuple(values["src"], values["dst"], proto, port.get("sport"), port.get("dport"))


def ends_of_tuple(one: Tuple) -> Ends:
    """Return the tuple as a packet in its direction is written."""
    if one.icmp is not None:
        return (one.proto, one.src, one.icmp[2], one.dst, one.icmp[2])
    return (one.proto, one.src, one.sport, one.dst, one.dport)


def flow_of_ends(ends: Ends, mark: int = 0) -> Flow:
    """Return "10.96.0.42:80" and the like; an ICMP echo shows addresses only."""
    proto, src, sport, dst, dport = ends
    if proto in ("icmp", "icmpv6"):
        return Flow(src, dst, proto, mark)
    return Flow(_with_port(src, sport), _with_port(dst, dport), proto, mark)


def _with_port(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def is_rewritten(entry: Entry) -> bool:
    """Whether NAT made the answer differ from the mirror of what was sent."""
    return ends_of_tuple(entry.reply) != turned(ends_of_tuple(entry.original))


def _made_up(entry: Entry, what: CtChange) -> str:
    """Write an entry as conntrack -L would, for one that was gone before anybody listed it."""
    family = "ipv6     10" if ":" in what.original.src else "ipv4     2"
    head = f"{family} {what.original.proto:<8} {_NUMBERS.get(what.original.proto, 0)}"
    timeout = f" {what.timeout}" if what.timeout is not None else ""
    state = f" {what.state}" if what.state else ""
    unreplied = "" if what.status & SEEN_REPLY else " [UNREPLIED]"
    assured = " [ASSURED]" if what.status & ASSURED else ""
    tail = f" mark={what.mark} id={what.id}"
    return f"{head}{timeout}{state} {_sides(what.original)}{unreplied} {_sides(what.reply)}{assured}{tail}"


def _sides(one: Tuple) -> str:
    text = f"src={one.src} dst={one.dst}"
    if one.icmp is not None:
        return f"{text} type={one.icmp[0]} code={one.icmp[1]} id={one.icmp[2]}"
    return text if one.sport is None else f"{text} sport={one.sport} dport={one.dport}"
