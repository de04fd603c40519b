"""All events of a recording -> the packets of its exchange, in order.

Each packet's path is found from its own bytes and the topology (`paths`, `lives`); which paths belong to the question
is found from the ends they show: the packet that was sent has one pair of ends in each namespace that it crosses
(NAT makes them differ), and a packet that shows one of these pairs, or its reverse, in that same namespace is of the
same connection. An ICMP error belongs to the packet that it quotes; where a trace cuts the quotation short,
the conntrack entry that the trace names tells it.

Nothing here depends on how the events of different sources were interleaved: a frame has the kernel's own time, and
of the other sources only each one's own order is used.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from kplab.model.journey import Direction
from kplab.model.packet import ClientSpec, Headers
from kplab.trace.events import FrameSeen, KernelEvent, LegacyTrace, NftTrace, Proxied, Sent
from kplab.trace.identity import Ends, ends_of, is_error, key_of, read, turned
from kplab.trace.lives import Life, Visit, find_lives, messages_of
from kplab.trace.paths import Path, find_paths
from kplab.trace.proxied import accepts, dialled_ends
from kplab.trace.recording import Recording
from kplab.trace.rulesets import base_chains_of
from kplab.trace.socket_calls import answers_of

_IP_TYPES = frozenset({0x0800, 0x86DD})

Seen = tuple[str, Ends]
"""Ends as one namespace sees them; a conntrack entry counts as ends too."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of the exchange."""

    number: int
    """1-based, in the order in which the packets were made."""
    direction: Direction
    path: Path


def find_packets(recording: Recording) -> list[Packet]:
    """Return the exchange's packets; none when what was sent was never seen."""
    paths = all_paths(recording)
    first = _first(recording, paths)
    if first is None:
        return []
    seeds = [first]
    if isinstance(recording.spec, ClientSpec):
        seeds += [p for p in paths if p is not first and p.origin == recording.sender and _same_target(p, first)]
    directions = _belonging(seeds, paths, _ties(recording))
    members = [path for path in paths if id(path) in directions]
    return [Packet(n, directions[id(path)], path) for n, path in enumerate(members, 1)]


def all_paths(recording: Recording) -> list[Path]:
    """Return the paths of all packets in the recording, those of other connections too."""
    lab_chains = {state.node: frozenset(state.lab_chains) for state in recording.nodes}
    bases = {state.node: base_chains_of(state) for state in recording.nodes}
    balancing = {state.node for state in recording.nodes if state.ipvs}
    frames: list[KernelEvent] = []
    traces: dict[str, list[KernelEvent]] = defaultdict(list)
    for event in recording.events:
        if isinstance(event.what, FrameSeen):
            if event.what.protocol in _IP_TYPES:
                frames.append(event)
        elif isinstance(event.what, NftTrace | LegacyTrace):
            traces[event.node].append(event)
    lives = [
        life
        for node in sorted(traces)
        for life in find_lives(
            node, traces[node], lab_chains.get(node, frozenset()), bases.get(node), ipvs=node in balancing
        )
    ]
    # The sort is stable, and puts sources in one order whatever order they were read in.
    frames.sort(key=lambda event: (event.stamp, event.node))
    return find_paths(recording.topology, frames, lives)


def sent_event(recording: Recording) -> KernelEvent | None:
    """Return the event of the lab's handing over the packet, or of starting the client."""
    mine = (event for event in recording.events if event.node == recording.sender)
    return next((event for event in mine if isinstance(event.what, Sent)), None)


def _first(recording: Recording, paths: list[Path]) -> Path | None:
    """Find the packet that was asked for: its own bytes, else the first that the sender made to that address."""
    mine = [path for path in paths if path.origin == recording.sender]
    event = sent_event(recording)
    asked = event.what.packet if event and isinstance(event.what, Sent) else b""
    headers = read(asked)
    if headers is not None:
        key = key_of(headers, asked)
        exact = next((path for path in mine if path.key == key), None)
        # The kernel fills in an IP id of 0 (raw(7)), so the bytes may differ from those that were handed over.
        return exact or next((path for path in mine if _alike(path.first, headers)), None)
    if isinstance(recording.spec, ClientSpec):
        wanted = answers_of(recording, *target_of(recording.spec))
        return next((p for p in mine if any(p.first.dst == h and p.first.dport in (n, None) for h, n in wanted)), None)
    return mine[0] if mine else None


def _alike(one: Headers, other: Headers) -> bool:
    return (one.dst, one.proto, one.dport, one.flags, one.icmp_type) == (
        other.dst, other.proto, other.dport, other.flags, other.icmp_type,
    )  # fmt: skip


def target_of(spec: ClientSpec) -> tuple[str, int | None]:
    """Return the host and port that a client was sent to: of a URL, or of "host:port"."""
    scheme, separator, rest = spec.target.partition("://")
    authority = (rest if separator else spec.target).split("/")[0].rpartition("@")[2]
    default = {"http": 80, "https": 443}.get(scheme) if separator else None
    if authority.startswith("["):
        host, _, tail = authority[1:].partition("]")
        return host, int(tail[1:]) if tail[1:].isdigit() else default
    host, _, port = authority.partition(":")
    return host, int(port) if port.isdigit() else default


def _same_target(path: Path, first: Path) -> bool:
    return (path.first.proto, path.first.dst, path.first.dport) == (
        first.first.proto,
        first.first.dst,
        first.first.dport,
    )


def _ties(recording: Recording) -> list[tuple[str, Proxied]]:
    """Return what userspace mode's kube-proxy said: a connection that it took, and the one that it opened for it."""
    return [(event.node, event.what) for event in recording.events if isinstance(event.what, Proxied)]


def _belonging(seeds: list[Path], paths: list[Path], ties: list[tuple[str, Proxied]]) -> dict[int, Direction]:
    """Return the direction of every path that belongs to the seeds' connections, by id of the path.

    A connection that kube-proxy opened (`ties`) belongs to the one that it took: its packets go the same ways.
    """
    shown = {id(path): list(_sightings(path)) for path in paths}
    known: dict[Seen, Direction] = {}
    directions: dict[int, Direction] = {}

    def tied() -> bool:
        fresh = [tie for tie in ties if any(node == tie[0] and accepts(tie[1], ends) for node, ends in known)]
        for node, proxied in fresh:
            ties.remove((node, proxied))
            known.setdefault((node, dialled_ends(proxied)), "request")
            known.setdefault((node, turned(dialled_ends(proxied))), "reply")
        return bool(fresh)

    def admit(path: Path, direction: Direction) -> None:
        directions[id(path)] = direction
        if is_error(path.first):
            return
        other: Direction = "reply" if direction == "request" else "request"
        for namespace, ends in shown[id(path)]:
            known.setdefault((namespace, ends), direction)
            known.setdefault((namespace, turned(ends)), other)

    for seed in seeds:
        admit(seed, "request")
    grown = True
    while grown:
        grown = tied()
        for path in paths:
            if id(path) in directions:
                continue
            found = next((known[seen] for seen in shown[id(path)] if seen in known), None)
            if found is not None:
                admit(path, found)
                grown = True
    return directions


def _sightings(path: Path) -> list[Seen]:
    """Return the path's ends in each namespace; an ICMP error counts as an answer to what it quotes."""
    seen: list[Seen] = []
    for step in path.steps:
        if isinstance(step, Life):
            seen += [(step.node, _ends(visit.headers)) for visit in step.visits]
            seen += [(step.node, ends) for visit in step.visits for ends in _entry_ends(visit)]
        else:
            seen += [(step.start.namespace, _ends(step.headers)), (step.end.namespace, _ends(step.headers))]
    return seen


def _entry_ends(visit: Visit) -> list[Ends]:
    """Return the entry that the trace names, as ends that turn round like the packet's."""
    for what in messages_of(visit):
        if isinstance(what, NftTrace) and what.ct_id is not None:
            forth: Ends = ("conntrack", "original", what.ct_id, "reply", what.ct_id)
            return [turned(forth) if what.ct_direction == "reply" else forth]
    return []


def _ends(headers: Headers) -> Ends:
    return ends_of(headers) if headers.inner is None else turned(ends_of(headers.inner))
