"""The same packet through several modes, side by side: what each did, as numbers and names. Pure.

`docs/compare.md` says what each field means; the JSON of `kplab compare` is `Comparison` and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median as median_of
from statistics import quantiles

import msgspec

from kplab.model.journey import Hop, Journey
from kplab.trace.both_backends import both_backends
from kplab.trace.compare_tally import rewrites, total
from kplab.trace.recording import Recording

SCHEMA = 1
"""Rises when a field changes its meaning or goes."""
LEAST_ROUNDS = 2


class Timing(msgspec.Struct, frozen=True):
    """A connection's first packet, from the frame out of its sender to the frame into the pod; microseconds."""

    rounds: int
    median_us: float
    low_us: float
    """A quarter of the rounds took less."""
    high_us: float
    """A quarter took more."""
    missed: int = 0
    """Rounds in which one of the two frames was not seen."""
    from_call_us: float | None = None
    """The median from the sender's call of connect() on: what a mode does in the call is in it."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One mode's way with the packet."""

    name: str
    """"iptables-nft", "userspace", "ipvs"."""
    mode: str
    backend: str
    sandbox: str
    """Times of different sandboxes are never to be compared: a guest's clock is another."""
    packets: int
    hops: int
    kernel: str
    first_rules: int
    """Rules tried by the connection's first packet, on all nodes that it crossed."""
    first_lookups: int
    """Maps and sets that it, or the socket call before it, was looked up in."""
    rules_tried: int
    """By all packets; the lists of nat are for first packets only."""
    lookups: int
    translations: tuple[str, ...]
    """Who rewrote which address, of requests first, then of replies; each once."""
    conntrack_entries: int
    """Entries made, on all nodes."""
    ipvs_entries: int
    left_kernel: int
    """How often the way led through a process: each took the bytes up, and sent them by a connection of its own."""
    delivered_to: str
    """The last namespace that a request came to."""
    outcome: str
    complete: bool
    findings: tuple[str, ...] = ()
    first_packet: Timing | None = None
    not_timed: str = ""
    """Why there is no time."""


class LeftOut(msgspec.Struct, frozen=True):
    """A mode that was not compared, and why."""

    name: str
    reason: str


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One mode in a cluster of a certain size: the packet goes to the last Service of the list."""

    services: int
    column: Column


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `kplab compare` found."""

    schema: int = SCHEMA
    packet: str
    sender: str
    columns: tuple[Column, ...]
    left_out: tuple[LeftOut, ...] = ()
    sizes: tuple[Point, ...] = ()
    interrupted: bool = False
    """Whether it was ended before all was done."""


def timing(nanoseconds: Sequence[int], missed: int, from_call: Sequence[int] = ()) -> Timing | None:
    """Return the median and the quartiles; None for fewer than two rounds. `from_call` are the times from the call."""
    if len(nanoseconds) < LEAST_ROUNDS:
        return None
    low, median, high = (round(each / 1000, 1) for each in quantiles(nanoseconds, n=4, method="inclusive"))
    return Timing(
        len(nanoseconds), median, low, high, missed, round(median_of(from_call) / 1000, 1) if from_call else None
    )


def column(recording: Recording, journey: Journey, time: Timing | None, not_timed: str = "") -> Column:
    """Return what one mode did with the packet."""
    hops, facts = journey.hops, recording.facts
    first, everything = total([hop for hop in hops if hop.packet == 1]), total(hops)
    arrived = [hop for hop in hops if hop.direction == "request" and hop.kind == "delivered"]
    return Column(
        name=name_of(facts.mode, facts.backend),
        mode=facts.mode,
        backend=facts.backend,
        sandbox=facts.sandbox,
        packets=journey.packets,
        hops=len(hops),
        kernel=facts.kernel,
        first_rules=first.rules,
        first_lookups=first.lookups,
        rules_tried=everything.rules,
        lookups=everything.lookups,
        translations=_translations(hops),
        conntrack_entries=everything.conntrack,
        ipvs_entries=everything.ipvs,
        left_kernel=sum(hop.kind == "proxy" for hop in hops),
        delivered_to=arrived[-1].node if arrived else "",
        outcome=journey.outcome,
        complete=journey.complete,
        findings=both_backends(recording.nodes),
        first_packet=time,
        not_timed=not_timed,
    )


def name_of(mode: str, backend: str) -> str:
    """Return a column's name: iptables mode is there twice, once for each back-end."""
    return f"{mode}-{backend}" if mode == "iptables" else mode


def clock_of(sandbox: str) -> str:
    """Return which kernel's clock a sandbox has: "namespaces, as root" is of the same kernel as "namespaces"."""
    return sandbox.split(",")[0]


def _translations(hops: Iterable[Hop]) -> tuple[str, ...]:
    """Each rewriting once, whichever packet it was done to."""
    found: dict[str, None] = {}
    ordered = sorted(hops, key=lambda hop: hop.direction != "request")
    for hop in ordered:
        if not rewrites(hop):
            continue
        changes = [
            f"{old} → {new}"
            for old, new in ((hop.before.src, hop.after.src), (hop.before.dst, hop.after.dst))
            if old != new
        ]
        where = f"{hop.node} {hop.hook}" if hop.hook else hop.node
        found[f"{hop.direction}: {hop.kind} at {where}: {', '.join(changes)}"] = None
    return tuple(found)
