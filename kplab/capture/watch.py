"""All of a lab watched at once: every source of every place, read together, as one numbered list of events."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Self

from kplab.capture.frames import open_frames
from kplab.capture.nflog import open_nflog
from kplab.capture.ruleset import RulesetSource, open_ruleset
from kplab.capture.sources import Source, open_conntrack, open_nft_trace
from kplab.capture.tracing import TRACED_ROLES
from kplab.model.topology import Role
from kplab.trace.events import KernelEvent, Lost, What
from kplab.trace.recording import Backend

ROOM = 32 * 1024 * 1024
"""Bytes of events kept of one question: half of what a message to the user's side may hold. More count as lost."""

_WEIGHT = 220
"""Bytes of an event without its packet, as recordings in MessagePack have it."""

_READ_LIMIT = 50_000
"""Datagrams that one `read` takes at most, so that it ends even under a flood."""


@dataclass(frozen=True, slots=True)
class Place:
    """A network namespace to watch."""

    name: str
    role: Role
    enter: Callable[[], AbstractContextManager[None]]
    """Puts this single-threaded process into the namespace, and back."""
    interfaces: tuple[str, ...]
    """Whose frames are wanted; those that do not exist are passed over."""


class Watch:
    """The eyes of a lab. Opened once; `begin` a question, `drain` until it is answered, then `rest`.

    Nodes have nft trace, conntrack and the ruleset's generation watched, and NFLOG with the legacy back-end; every
    place has its frames watched. Between two sources of a place, and between places, the order of events is that of
    reading; `KernelEvent.stamp` is the kernel's own for frames only.
    """

    def __init__(self, places: Sequence[Place], backend: Backend, clock: Callable[[], int], room: int = ROOM) -> None:
        """`clock` gives nanoseconds of CLOCK_REALTIME (`time.time_ns`); `room` is bytes of events a question."""
        self._places = tuple(places)
        self._backend = backend
        self._clock = clock
        self._sources: list[Source] = []
        self._numbers = itertools.count(1)
        self._lost: list[Lost] = []
        self._most = self._room = room

    def open(self) -> None:
        """Open every socket. Raises CaptureError, with nothing left open."""
        with ExitStack() as opened:
            opened.callback(self.close)
            for place in self._places:
                with place.enter():
                    for source in self._sources_of(place):
                        self._sources.append(source)
            opened.pop_all()

    def _sources_of(self, place: Place) -> Iterator[Source]:
        """Open the sources of the namespace that we are in, one at a time."""
        indexes = {name: index for index, name in socket.if_nameindex()}
        names = {index: name for name, index in indexes.items()}
        if place.role in TRACED_ROLES:
            yield open_nft_trace(place.name, names, self._clock)
            if self._backend == "legacy":
                yield open_nflog(place.name, names, self._clock)
            yield open_conntrack(place.name, self._clock)
            yield open_ruleset(place.name, self._clock)
        watched = {name: indexes[name] for name in place.interfaces if name in indexes}
        if watched:
            yield open_frames(place.name, watched, self._clock)

    def filenos(self) -> list[int]:
        """Return the descriptors to wait on: when one is readable, `read` or `drain`."""
        return [source.fileno() for source in self._sources]

    def read(self) -> int:
        """Take what waits in every socket, and keep it undecoded; return how many datagrams there were.

        Quick, for a flood: call it often, and `drain` at the end.
        """
        total = 0
        while count := sum(source.read() for source in self._sources):
            total += count
            if total >= _READ_LIMIT:
                break
        return total

    def drain(self) -> list[KernelEvent]:
        """Read all that waits, and return every event since the last `drain` or `clear`, numbered. Never blocks."""
        self.read()
        return list(self._decoded())

    def _decoded(self) -> Iterator[KernelEvent]:
        for source in self._sources:
            beyond = 0
            for stamp, what in source.events():
                if self._room <= 0:
                    beyond += 1
                    continue
                self._room -= _WEIGHT + len(getattr(what, "packet", b""))
                yield KernelEvent(next(self._numbers), stamp, source.place, what)
            if (count := source.lost() + beyond) != 0:
                loss = Lost(source.name, count)
                self._lost.append(loss)
                yield KernelEvent(next(self._numbers), self._clock(), source.place, loss)

    def note(self, place: str, what: What, stamp: int | None = None) -> KernelEvent:
        """Return an event of our own making (`Sent`, `Served`), numbered between what was drained before and after."""
        return KernelEvent(next(self._numbers), self._clock() if stamp is None else stamp, place, what)

    def begin(self) -> None:
        """Begin a question: `clear`, and hear who changes a node's ruleset, until `rest`."""
        for source in self._sources:
            if isinstance(source, RulesetSource):
                source.listen()
        self.clear()

    def rest(self) -> None:
        """Do without what costs others time while no question is asked: who changed a ruleset (see `ruleset`)."""
        for source in self._sources:
            if isinstance(source, RulesetSource):
                source.rest()

    def clear(self) -> None:
        """Throw away all that waits; the next event is number 1, and nothing counts as lost."""
        self.read()
        for source in self._sources:
            source.clear()
        self._numbers = itertools.count(1)
        self._lost.clear()
        self._room = self._most

    @property
    def lost(self) -> tuple[Lost, ...]:
        """Every loss reported since `clear`; empty when nothing was lost."""
        return tuple(self._lost)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every socket; may be called again."""
        for source in self._sources:
            source.close()
        self._sources.clear()
