"""Two journeys side by side: which hop of the one stands beside which of the other. Pure.

Packets are paired first (the asker's first request with the other's first request, reply with reply), then, within a
pair, what happens to them: sent, link, hook, rules and lookups, DNAT, route, delivered. nat's rules at one hook (and
filter's) stand together, hop beside hop, however many each mode has. What only one mode does has no hop beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from kplab.model.journey import Direction, Hop, Journey
from kplab.model.topology import Topology

_WALKS = ("rule", "chain", "lookup")
_PURPOSES = ("nat", "filter")
_TRANSLATES = ("DNAT", "SNAT", "reverse NAT", "IPVS", "proxy", "socket")
_SAME, _KINDRED, _PLACE = 4, 1, 1
"""What standing side by side is worth: the same thing, a thing of the same kind, and each end of the same place."""

T = TypeVar("T")
Pair = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Story:
    """One mode's journey, and where it happened."""

    name: str
    """"iptables-nft", "ipvs"."""
    sandbox: str
    """"namespaces", "microvm (TCG)"."""
    journey: Journey
    topology: Topology


@dataclass(frozen=True, slots=True)
class Row:
    """One step of both: a hop each, or one alone."""

    what: str
    """"sent", "PREROUTING", "nat rules at PREROUTING", "DNAT"."""
    direction: Direction
    left: int | None
    """The hop's index (0-based); None when the left one has nothing to do in this step."""
    right: int | None
    at: tuple[int, int]
    """The latest hop of each up to this step, -1 before its first."""
    together: bool
    """Whether both take part: the one without a hop then was through with its rules and lookups sooner."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """Hops that are one thing: all nat rules and lookups at one hook, or a single hop of another kind."""

    what: str
    kind: str
    direction: Direction
    ends: tuple[str, str]
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class _Packet:
    """One packet's stages."""

    direction: Direction
    asker: str
    """Whose packet it is: of a request the namespace that sent it, of a reply the address that it goes to."""
    ends: tuple[str, str]
    stages: tuple[_Stage, ...]


def align(left: Journey, right: Journey) -> tuple[Row, ...]:
    """Return the steps of both journeys; every hop of each is in exactly one of them, in its order."""
    rows: list[Row] = []
    at = (-1, -1)
    for a, b in _stage_pairs(_packets(left.hops), _packets(right.hops)):
        stage = a or b
        assert stage is not None  # noqa: S101 - a pair has one at least
        what = stage.what if a is None or b is None or a.what == b.what else _both(a.what, b.what)
        for n in range(max(a.count if a else 0, b.count if b else 0)):
            i = a.first + n if a and n < a.count else None
            j = b.first + n if b and n < b.count else None
            at = (at[0] if i is None else i, at[1] if j is None else j)
            rows.append(Row(what, stage.direction, i, j, at, a is not None and b is not None))
    return tuple(rows)


def _both(left: str, right: str) -> str:
    """Name two unlike stages: "FORWARD | INPUT", "filter rules at FORWARD | INPUT"."""
    head, parted, _ = left.partition(" at ")
    return f"{left} | {right.removeprefix(f'{head} at ') if parted else right}"


def row_of(rows: Sequence[Row], column: int, hop: int) -> int:
    """Return the first row (0-based) that shows hop `hop` (0-based) of the left (0) or right (1) one; 0 for none."""
    return next((n for n, row in enumerate(rows) if row.at[column] == hop), 0)


def _packets(hops: Sequence[Hop]) -> list[_Packet]:
    found = []
    first = 0
    for (_, direction), run in groupby(hops, key=lambda hop: (hop.packet, hop.direction)):
        mine = tuple(run)
        asker = mine[0].node if direction == "request" else mine[-1].after.dst.rpartition(":")[0]
        found.append(_Packet(direction, asker, (mine[0].node, mine[-1].node), _stages(mine, first)))
        first += len(mine)
    return found


def _stages(hops: Sequence[Hop], first: int) -> tuple[_Stage, ...]:
    stages: list[_Stage] = []
    base = ""
    for n, hop in enumerate(hops):
        base = (hop.chain or "") if hop.depth == 0 or not base else base
        what, kind = _named(hop, base)
        before = stages[-1] if stages else None
        if before and kind == "walk" and (before.what, before.ends[0]) == (what, hop.node):
            stages[-1] = _Stage(what, kind, hop.direction, before.ends, before.first, before.count + 1)
        else:
            stages.append(_Stage(what, kind, hop.direction, (hop.node, hop.peer or ""), first + n, 1))
    return tuple(stages)


def _named(hop: Hop, base: str) -> tuple[str, str]:
    """Return what a hop's stage is called, and its kind; `base` is the base chain that the packet is in."""
    if hop.kind in _WALKS:
        if hop.hook is None or hop.hook.startswith("cgroup/"):
            return f"lookups at {hop.hook or hop.node}", "walk"
        return f"{_purpose(hop, base)} rules at {hop.hook}", "walk"
    if hop.kind == "hook":
        return hop.hook or "hook", "hook"
    if hop.kind in _TRANSLATES:
        return {"socket": "socket call", "proxy": "kube-proxy"}.get(hop.kind, hop.kind), "translation"
    return hop.kind, hop.kind


def _purpose(hop: Hop, base: str) -> str:
    """Say what rules are for: iptables' tables say it, of nftables' one table the base chains' names ("nat-output")."""
    purpose, parted, _ = base.partition("-")
    return purpose if parted and purpose in _PURPOSES else hop.table or "other"


def _stage_pairs(left: list[_Packet], right: list[_Packet]) -> Iterator[tuple[_Stage | None, _Stage | None]]:
    for i, j in _pair(left, right, _alike_packets):
        a = left[i].stages if i is not None else ()
        b = right[j].stages if j is not None else ()
        for m, n in _pair(a, b, _alike):
            yield (a[m] if m is not None else None), (b[n] if n is not None else None)


def _alike_packets(a: _Packet, b: _Packet) -> int:
    """Say how well two packets go together, 0 for not at all: the asker's own never stand beside another's."""
    if (a.direction, a.asker) != (b.direction, b.asker):
        return 0
    return _SAME + sum(_PLACE for one, other in zip(a.ends, b.ends, strict=True) if one == other)


def _alike(a: _Stage, b: _Stage) -> int:
    """Say how well two stages go together, 0 for not at all: filter's rules never stand beside nat's."""
    if a.kind != b.kind or (a.kind == "walk" and a.what.split()[0] != b.what.split()[0]):
        return 0
    places = sum(_PLACE for one, other in zip(a.ends, b.ends, strict=True) if one == other)
    return (_SAME if a.what == b.what else _KINDRED) + places


def _pair(a: Sequence[T], b: Sequence[T], alike: Callable[[T, T], int]) -> list[Pair]:
    """Pair two sequences in order so that what stands side by side is worth most (Needleman and Wunsch, gaps free)."""
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    worth = [[alike(one, other) for other in b] for one in a]
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            both = worth[i][j] + best[i + 1][j + 1] if worth[i][j] else 0
            best[i][j] = max(both, best[i + 1][j], best[i][j + 1])
    pairs: list[Pair] = []
    i = j = 0
    while i < len(a) and j < len(b):
        if worth[i][j] and best[i][j] == worth[i][j] + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            pairs.append((i, None))
            i += 1
        else:
            pairs.append((None, j))
            j += 1
    pairs += [(n, None) for n in range(i, len(a))]
    return pairs + [(None, n) for n in range(j, len(b))]
