"""The map: which boxes, in which order, and where the packet is at each hop.

Boxes stand from left to right in the order in which the packet first meets them. The underlay is not a box but
a part of the way between two nodes: nothing happens to a packet there but a bridge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kplab.model.journey import Direction, Hop, Journey
from kplab.model.topology import Namespace, Topology
from kplab.scene.frame import Board, Edge, Lane, MapState, Place, Station

HOOK_ORDER = ("PREROUTING", "OUTPUT", "route", "INPUT", "IPVS", "kube-proxy", "FORWARD", "POSTROUTING")
_ROWS = {"route": "route", "IPVS": "IPVS", "proxy": "kube-proxy"}
"""Rows of a box that are no hooks of netfilter's."""
_FORWARDING = ("PREROUTING", "route", "FORWARD", "POSTROUTING")


@dataclass(frozen=True, slots=True)
class Move:
    """One hop on the map: in a box, or a stretch `begin` to `end` of the way between two."""

    station: str
    hook: str | None = None
    toward: str | None = None
    begin: float = 0.0
    end: float = 1.0


def make_board(journey: Journey, topology: Topology) -> Board:
    """Return the map of a journey: the namespaces it meets, and the rest of the lab by name."""
    path = _path(journey.hops)
    names = [name for name in dict.fromkeys(path) if not _is_underlay(name, topology)]
    met: dict[str, set[str]] = {}
    for hop in journey.hops:
        hook = _row(hop)
        if hook is not None:
            met.setdefault(hop.node, set()).add(hook)
    stations = tuple(_station(name, topology, met.get(name, set())) for name in names)
    return Board(stations, _edges(names, topology), _others(names, topology))


def idle_board(topology: Topology, sender: str) -> Board:
    """Return the map before anything is sent: the sender, its node, and the other nodes."""
    origin = topology.namespace(sender)
    names = [sender] if origin else []
    if origin and origin.node:
        names.append(origin.node)
    names += [ns.name for ns in topology.namespaces if ns.role == "node" and ns.name not in names]
    stations = tuple(_station(name, topology, set()) for name in names)
    return Board(stations, _edges(names, topology), _others(names, topology))


def _is_underlay(name: str, topology: Topology) -> bool:
    namespace = topology.namespace(name)
    return namespace is not None and namespace.role == "underlay"


def _station(name: str, topology: Topology, met: set[str]) -> Station:
    namespace = topology.namespace(name) or Namespace(name, "pod")
    wanted = met | (set(_FORWARDING) if namespace.role == "node" and not met - {"route"} else met)
    if wanted and namespace.role == "node":
        wanted = wanted | {"route"}
    hooks = tuple(hook for hook in HOOK_ORDER if hook in wanted)
    return Station(name, namespace.role, namespace.addresses(), hooks)


def _edges(names: Sequence[str], topology: Topology) -> tuple[Edge, ...]:
    return tuple(Edge(a, b, _via(a, b, topology)) for a, b in pairwise(names))


def _via(a: str, b: str, topology: Topology) -> str | None:
    for namespace in topology.namespaces:
        if namespace.role != "underlay":
            continue
        joined = {link.b.namespace for link in topology.links if link.a.namespace == namespace.name}
        joined |= {link.a.namespace for link in topology.links if link.b.namespace == namespace.name}
        if {a, b} <= joined:
            return namespace.name
    return None


def _others(names: Sequence[str], topology: Topology) -> tuple[str, ...]:
    return tuple(ns.name for ns in topology.namespaces if ns.name not in names and ns.role != "underlay")


def _path(hops: Sequence[Hop]) -> list[str]:
    """Return the namespaces in the order in which a packet meets them; requests come before replies."""
    path: list[str] = []
    for hop in sorted(hops, key=lambda h: (h.direction == "reply", h.n)):
        ends = _link_ends(hop) if hop.kind == "link" else (hop.node,)
        path.extend(end for end in ends if not path or path[-1] != end)
    return path


def _link_ends(hop: Hop) -> tuple[str, str]:
    return hop.node, hop.peer or hop.node


def _row(hop: Hop) -> str | None:
    if hop.kind in _ROWS:
        return _ROWS[hop.kind]
    return hop.hook if hop.kind not in {"link", "sent", "delivered", "reply"} else None


def find_moves(hops: tuple[Hop, ...], topology: Topology) -> tuple[Move, ...]:
    """Return where each hop happens on the map."""
    return tuple(_move(hops, index, topology) for index in range(len(hops)))


def _move(hops: tuple[Hop, ...], index: int, topology: Topology) -> Move:
    hop = hops[index]
    if hop.kind != "link" or hop.peer is None or hop.peer == hop.node:
        return Move(hop.node, _row(hop))
    origin, target = hop.node, hop.peer
    if _is_underlay(target, topology):
        onward = _far_end(hops[index + 1 :], target, topology)
        return Move(origin, toward=onward, end=0.5) if onward else Move(origin)
    if _is_underlay(origin, topology):
        source = _near_end(hops[:index], topology)
        return Move(source, toward=target, begin=0.5) if source else Move(target)
    return Move(origin, toward=target)


def _far_end(later: Sequence[Hop], underlay: str, topology: Topology) -> str | None:
    for hop in later:
        if hop.kind == "link" and hop.node == underlay and hop.peer:
            return hop.peer
        if not _is_underlay(hop.node, topology):
            return hop.node
    return None


def _near_end(earlier: Sequence[Hop], topology: Topology) -> str | None:
    return next((hop.node for hop in reversed(earlier) if not _is_underlay(hop.node, topology)), None)


def map_state(hops: tuple[Hop, ...], moves: tuple[Move, ...], index: int) -> MapState:
    """Return the map's state at the beginning of hop `index` (0-based)."""
    hop, move = hops[index], moves[index]
    packets = _in_sight(hops, index)
    done: dict[Lane, None] = {}
    passed: dict[tuple[str, str, Direction], None] = {}
    ahead: dict[Lane, None] = {}
    for i, (other, step) in enumerate(zip(hops, moves, strict=True)):
        lane = Lane(step.station, step.toward, other.direction) if step.toward else None
        if lane and i > index:
            ahead[lane] = None
        if i < index and other.packet in packets:
            if lane:
                done[lane] = None
            if step.hook:
                passed[(step.station, step.hook, other.direction)] = None
    return MapState(
        place_at(move, 0.0),
        hop.direction,
        tuple(done),
        tuple(passed),
        tuple(lane for lane in ahead if lane not in done),
    )


def _in_sight(hops: tuple[Hop, ...], index: int) -> set[int]:
    """Return the packets whose way is drawn: this one, and for a reply the request that it answers."""
    hop = hops[index]
    if hop.direction == "request":
        return {hop.packet}
    asked = next((h.packet for h in reversed(hops[:index]) if h.direction == "request"), hop.packet)
    return {hop.packet, asked}


def place_at(move: Move, done: float) -> Place:
    """Return the packet's place when a share `done` (0 to 1) of its hop is over."""
    if move.toward is None:
        return Place(move.station, move.hook)
    return Place(move.station, None, move.toward, move.begin + (move.end - move.begin) * done)
