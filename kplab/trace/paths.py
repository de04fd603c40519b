"""Frames and lives of all namespaces -> `Path`: one packet from where it was made to where it ended.

A frame seen leaving X and one seen at the other end of X's link are one crossing. A crossing goes on from another
when it begins in the namespace where that one ended, with a TTL that is one lower (a router) or, in the underlay's
bridge, the same. Everything else begins a packet of its own, so a repeated packet, which is the same to the bit, is
told from the first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from kplab.model.packet import Headers
from kplab.model.topology import End, Topology
from kplab.trace.events import FrameSeen, KernelEvent
from kplab.trace.identity import Key, key_of, read
from kplab.trace.lives import Life

_OPEN = 256
"""Of packets that are equal to the bit, how many of the latest may still be under way."""


@dataclass(slots=True)
class Crossing:
    """A packet's way over one link. One of the two sightings may be lacking."""

    start: End
    end: End
    headers: Headers
    out: KernelEvent | None = None
    into: KernelEvent | None = None

    @property
    def stamp(self) -> int:
        """When it was first seen, in the kernel's own time."""
        return min(event.stamp for event in self.events)

    @property
    def events(self) -> list[KernelEvent]:
        """The sightings, in the packet's direction."""
        return [event for event in (self.out, self.into) if event is not None]


@dataclass(slots=True)
class Path:
    """One packet's steps, in order: lives in namespaces that are traced, and crossings of links between them."""

    key: Key
    steps: list[Life | Crossing] = field(default_factory=list)

    @property
    def crossings(self) -> list[Crossing]:
        """The links that it crossed."""
        return [step for step in self.steps if isinstance(step, Crossing)]

    @property
    def lives(self) -> list[Life]:
        """Its ways through hooks."""
        return [step for step in self.steps if isinstance(step, Life)]

    @property
    def origin(self) -> str:
        """The namespace that it was first seen in."""
        first = self.steps[0]
        return first.node if isinstance(first, Life) else first.start.namespace

    @property
    def terminal(self) -> str:
        """The namespace that it was last seen in."""
        last = self.steps[-1]
        return last.node if isinstance(last, Life) else last.end.namespace

    @property
    def stamp(self) -> int:
        """When it was first seen: the kernel's own stamp of its first frame, where it was on a link at all."""
        return min((c.stamp for c in self.crossings), default=self.steps[0].stamp)

    @property
    def first(self) -> Headers:
        """Its headers when it was first seen."""
        first = self.steps[0]
        return first.visits[0].headers if isinstance(first, Life) else first.headers

    @property
    def last(self) -> Headers:
        """Its headers when it was last seen."""
        last = self.steps[-1]
        return last.visits[-1].headers if isinstance(last, Life) else last.headers

    @property
    def event(self) -> KernelEvent:
        """The event that shows it first."""
        first = self.steps[0]
        return first.visits[0].events[0] if isinstance(first, Life) else first.events[0]

    @property
    def quoted(self) -> Headers | None:
        """For an ICMP error: the headers that it quotes, from whichever sighting has enough bytes."""
        heads = [head for step in self.steps for head in _heads(step)]
        return next((head.inner for head in heads if head.inner is not None), None)


def _heads(step: Life | Crossing) -> list[Headers]:
    return [visit.headers for visit in step.visits] if isinstance(step, Life) else [step.headers]


def find_paths(topology: Topology, frames: Iterable[KernelEvent], lives: Iterable[Life]) -> list[Path]:
    """Return every packet's path, in the order in which they began."""
    roles: dict[str, str] = {ns.name: ns.role for ns in topology.namespaces}
    by_key: dict[Key, list[tuple[KernelEvent, FrameSeen, Headers]]] = defaultdict(list)
    for event in frames:
        if isinstance(event.what, FrameSeen):
            headers = read(event.what.packet)
            if headers is not None:
                by_key[key_of(headers, event.what.packet)].append((event, event.what, headers))
    paths: list[Path] = []
    for key, seen in by_key.items():
        chains: list[list[Crossing]] = []
        for event, frame, headers in sorted(seen, key=lambda item: item[0].stamp):
            _place(chains, _crossing(topology, event, frame, headers), roles)
        paths += [Path(key, list(chain)) for chain in _without_floods(chains, roles)]
    paths.sort(key=lambda path: path.stamp)
    _attach(paths, list(lives))
    paths.sort(key=lambda path: path.stamp)
    return paths


def _crossing(topology: Topology, event: KernelEvent, frame: FrameSeen, headers: Headers) -> Crossing:
    here = End(event.node, frame.interface)
    there = topology.peer(here) or here
    if frame.direction == "out":
        return Crossing(here, there, headers, out=event)
    return Crossing(there, here, headers, into=event)


def _place(chains: list[list[Crossing]], new: Crossing, roles: dict[str, str]) -> None:
    """Join the crossing to the sighting at the link's other end, to the path that it goes on from, or to neither."""
    recent = chains[: -_OPEN - 1 : -1]
    for chain in recent:
        last = chain[-1]
        if (last.start, last.end, last.headers.ttl) == (new.start, new.end, new.headers.ttl):
            if last.into is None and new.out is None:
                last.into = new.into
                return
            if last.out is None and new.into is None:
                last.out = new.out
                return
    # Of two copies at the same place the earlier has been there longer than any node takes: it ended there.
    onward = next((chain for chain in recent if _goes_on(chain[-1], new, roles)), None)
    if onward is not None:
        onward.append(new)
    else:
        chains.append([new])


def _goes_on(last: Crossing, new: Crossing, roles: dict[str, str]) -> bool:
    here = new.start.namespace
    if last.end.namespace != here or last.start == last.end:
        return False
    lowered = last.headers.ttl - new.headers.ttl
    return lowered == (0 if roles.get(here) == "underlay" else 1)


def _without_floods(chains: list[list[Crossing]], roles: dict[str, str]) -> list[list[Crossing]]:
    """Of the copies that a bridge made of one frame, keep the one that came furthest.

    A bridge that has not learnt an address sends a frame out of every port; each copy but the first looks like
    a packet that was made in the underlay.
    """
    kept = [chain for chain in chains if roles.get(chain[0].start.namespace) != "underlay"]
    for copy in (chain for chain in chains if roles.get(chain[0].start.namespace) == "underlay"):
        for index, chain in enumerate(kept):
            at = next((i for i, c in enumerate(chain) if c.end.namespace == copy[0].start.namespace), None)
            if at is not None and chain[at].headers.ttl == copy[0].headers.ttl:
                if len(copy) > len(chain) - at - 1:
                    kept[index] = chain[: at + 1] + copy
                break
        else:
            kept.append(copy)
    return kept


def _attach(paths: list[Path], lives: list[Life]) -> None:
    """Put each life between the frame that brought its packet and the one that took it away."""
    rest: dict[tuple[Key, str], list[Life]] = defaultdict(list)
    for life in lives:
        rest[(life.key, life.node)].append(life)
    for path in paths:
        steps: list[Life | Crossing] = []
        crossings = path.crossings
        if crossings:
            steps += _take(rest, path.key, crossings[0].start.namespace, None)
        for crossing in crossings:
            steps.append(crossing)
            steps += _take(rest, path.key, crossing.end.namespace, crossing.end.interface)
        path.steps = steps
    for left in rest.values():
        _lone(paths, left)


def _take(rest: dict[tuple[Key, str], list[Life]], key: Key, node: str, interface: str | None) -> list[Life]:
    """Take the first life that came in by this interface, or (None) was begun by the node's own socket."""
    for life in rest.get((key, node), []):
        came_in = life.local if interface is None else not life.local and life.iif in (interface, None)
        if came_in:
            rest[(key, node)].remove(life)
            return [life]
    return []


def _lone(paths: list[Path], lives: list[Life]) -> None:
    """Make paths of lives without a frame: dropped before they left, or gone through the loopback interface."""
    for life in lives:
        before = next((p for p in reversed(paths) if life.iif == "lo" and _waits_at_loopback(p, life)), None)
        if before is not None:
            before.steps.append(life)
        else:
            paths.append(Path(life.key, [life]))


def _waits_at_loopback(path: Path, life: Life) -> bool:
    last = path.steps[-1]
    return path.key == life.key and isinstance(last, Life) and last.node == life.node and last.oif == "lo"
