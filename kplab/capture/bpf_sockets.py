"""The socket calls that BPF programs report: every node's ring read together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kplab.capture.bpf_ring import BpfRing
from kplab.capture.decode_bpf import decode_bpf
from kplab.errors import CaptureError
from kplab.trace.events import Lost, SocketCall

SOURCE = "BPF events"


@dataclass(frozen=True, slots=True)
class Reported:
    """One report: where (a namespace's name), when (ns of CLOCK_REALTIME), what."""

    place: str
    stamp: int
    what: SocketCall | Lost


class SocketCalls:
    """Reads the rings. `names` are namespaces by cookie, `lost` tells how many events have found no room so far."""

    def __init__(self, rings: Sequence[int], names: Mapping[int, str], lost: Callable[[], int]) -> None:
        """Map every ring. Raises CaptureError."""
        self._lost = lost
        self._told = 0
        self._rings = [BpfRing(fd) for fd in rings]
        self._names = dict(names)

    def filenos(self) -> list[int]:
        """Return the descriptors to wait on."""
        return [ring.fileno() for ring in self._rings]

    def read(self) -> list[Reported]:
        """Return what has been reported, in the order of time. Never blocks."""
        # bpf_ktime_get_ns() is CLOCK_MONOTONIC; everything else in a recording has CLOCK_REALTIME.
        ahead = time.time_ns() - time.monotonic_ns()
        found: list[Reported] = []
        total = self._lost()
        if total != self._told:
            found.append(
                Reported(next(iter(self._names.values()), ""), time.time_ns(), Lost(SOURCE, total - self._told))
            )
            self._told = total
        for ring in self._rings:
            for record in ring.records():
                try:
                    event = decode_bpf(record)
                except CaptureError:
                    found.append(Reported("", time.time_ns(), Lost(SOURCE, 1)))
                    continue
                found.append(Reported(self._names.get(event.netns, ""), event.monotonic + ahead, event.call))
        return sorted(found, key=lambda each: each.stamp)
