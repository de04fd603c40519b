"""What a face shows at one moment, as values: a map, headers, a walk, conntrack, a timeline, a sentence.

Nothing here knows a screen's size or a colour. A `Frame` is made by `Timeline.at`; its parts are shared between
frames while they stay the same, so a face can compare parts (`is`, or `==`) and paint only what changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kplab.model.journey import Direction, Evidence, IpvsChoice, Kind, Lookup, Skip
from kplab.model.topology import Role

LineMark = Literal["match", "skip", "fold", "end", "lookup"]
"""match ✓: the rule fired. skip ✗: it was tried and did not match. fold: many skips in one line. end: the chain
ended without a rule that kept the packet (a return, a policy). lookup: a map was asked, and no rule is involved."""

CtMark = Literal["new", "changed", "used", "destroyed", ""]


@dataclass(frozen=True, slots=True)
class Station:
    """A box of the map: a namespace that the packet passes, or could pass."""

    name: str
    role: Role
    addresses: tuple[str, ...]
    hooks: tuple[str, ...]
    """Its rows from top to bottom in the order in which the kernel runs them; "route" is the routing decision."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A way between two neighbouring boxes; `via` is the underlay between them, if there is one."""

    left: str
    right: str
    via: str | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """The map's fixed part: boxes from left to right in the order in which the packet first meets them."""

    stations: tuple[Station, ...]
    edges: tuple[Edge, ...]
    others: tuple[str, ...] = ()
    """Namespaces of the lab that this packet does not meet."""

    def station(self, name: str) -> Station | None:
        """Return the box of that name, or None."""
        return next((s for s in self.stations if s.name == name), None)

    def index(self, name: str) -> int:
        """Return a box's place from the left, 0-based; -1 when it is not on the map."""
        return next((i for i, s in enumerate(self.stations) if s.name == name), -1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the packet is: in a box (at a hook, or at none), or between two boxes."""

    station: str
    hook: str | None = None
    toward: str | None = None
    """The box that it travels to; None while it is in `station`."""
    progress: float = 0.0
    """0.0 at `station`, 1.0 at `toward`."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A stretch that the packet has travelled."""

    origin: str
    target: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class MapState:
    """The map's moving part."""

    place: Place | None
    """None before anything was sent."""
    direction: Direction
    lanes: tuple[Lane, ...] = ()
    """Travelled so far, by this packet of the exchange and its reply."""
    passed: tuple[tuple[str, str, Direction], ...] = ()
    """(box, hook, direction) that held the packet before."""
    ahead: tuple[Lane, ...] = ()
    """To be travelled yet; so both directions are in sight from the start."""


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One header field at this hop: `was` differs from `value` where the hop rewrote it."""

    name: str
    value: str
    was: str | None = None

    @property
    def changed(self) -> bool:
        """Whether this hop rewrote it."""
        return self.was is not None


@dataclass(frozen=True, slots=True)
class WalkLine:
    """One line of a walk: a rule that was tried, a fold of many, or a chain's end."""

    mark: LineMark
    chain: str
    depth: int
    number: int | None
    """The rule's number in its chain; of a fold, its first rule's."""
    rule: str
    """Short form of what the rule asks for; of a fold, what its rules have in common."""
    note: str
    """Why it was passed over, or what it does."""
    tried: int
    """How many rules of this chain had been tried by then, this one included."""
    evidence: Evidence
    full: str = ""
    """iptables-save's text."""
    count: int = 0
    """Of a fold: how many rules it stands for."""
    hidden: tuple[Skip, ...] = ()
    """Of a fold: those rules, so that a face can unfold them."""
    disagreement: str | None = None


@dataclass(frozen=True, slots=True)
class Walk:
    """The rules tried in one table at one hook, as far as the play has come."""

    node: str
    hook: str | None
    table: str | None
    path: tuple[str, ...]
    """The chains on the way in, base chain first."""
    lines: tuple[WalkLine, ...]
    tried: int
    """Rules tried in this walk so far, all chains together."""
    running: bool
    """Whether the packet is still in this walk; False while it is shown as the last one."""


@dataclass(frozen=True, slots=True)
class CtLine:
    """A conntrack entry as far as this journey has shown it."""

    node: str
    text: str
    """As `conntrack -L` prints it."""
    original: str
    reply: str
    state: str | None
    mark: CtMark
    """What this very hop did to it; "" when it is only there."""
    id: int | None = None


@dataclass(frozen=True, slots=True)
class KeyField:
    """One field of a lookup's key: its name, and the packet's value."""

    name: str
    value: str
    data: str = ""
    """In a BPF map's key: its bytes, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The latest question put to a map, a set or IPVS."""

    where: str
    lookup: Lookup | None
    fields: tuple[KeyField, ...]
    """The lookup's key, field by field."""
    ipvs: IpvsChoice | None
    here: bool
    """Whether it is this hop's; False while it is shown as the last one."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark of the timeline, for one hop."""

    hop: int
    """0-based."""
    label: str
    node: str
    kind: Kind
    direction: Direction
    packet: int
    evidence: Evidence
    disagreement: bool


@dataclass(frozen=True, slots=True)
class Banner:
    """Something that must be said whatever else is shown."""

    kind: Literal["disagreement", "lost", "incomplete"]
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything that a face shows at one moment of a journey."""

    t: float
    hop: int
    """0-based; -1 when there is no journey."""
    board: Board
    map: MapState
    headers: tuple[HeaderField, ...]
    walk: Walk | None
    conntrack: tuple[CtLine, ...]
    marks: tuple[Mark, ...]
    sentence: str
    """What the kernel does in this hop, and why."""
    next: str
    """What comes after it."""
    evidence: Evidence | None
    banners: tuple[Banner, ...]
    asked: Asked | None = None
    where: str = ""
    """"node-a · PREROUTING · nat · KUBE-SERVICES"."""
