"""What telling one visit of a base chain takes and gives, whatever wrote its rules."""

from __future__ import annotations

from dataclasses import dataclass

from kplab.model.journey import Direction, Hop
from kplab.trace.lives import Life
from kplab.trace.story import Story


@dataclass(frozen=True, slots=True)
class Place:
    """Whose visit it is: the packet, and where it stands."""

    story: Story
    life: Life
    number: int
    direction: Direction
    assumed: str
    """The conntrack state to go by where the kernel says none: "new", "established", "related"."""


@dataclass(frozen=True, slots=True)
class Told:
    """The hops of one visit, and how it ended."""

    hops: list[Hop]
    verdict: str | None
    """The base chain's verdict; None where the trace stops before one."""
    mark: int
    """The packet's mark when it left."""
    unfinished: str | None = None
