"""What IPVS chose, as a probe in a guest's kernel saw it; each is told of the node whose table holds the entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kplab.capture.ipvs_probe import IpvsProbe, open_ipvs_probe
from kplab.capture.watch import Watch
from kplab.errors import CaptureError, ProgramError
from kplab.lab.run import Runner
from kplab.rules.ipvsadm import parse_connections
from kplab.trace.events import IpvsConnection, KernelEvent
from kplab.trace.recording import NodeState

TRACING = Path("/sys/kernel/tracing")


@dataclass(slots=True)
class IpvsChoices:
    """The probe; without one nothing is told, and the choice is worked out from IPVS's tables."""

    probe: IpvsProbe | None = None

    def discard(self) -> None:
        """Throw away what has been seen so far."""
        if self.probe is not None:
            self.probe.read()

    def events(self, watch: Watch, after: Sequence[NodeState]) -> list[KernelEvent]:
        """Return what was chosen since, numbered after the watch's events.

        The kernel's word names no namespace. The entry that was made does: `after` holds each node's listing. Of
        what no listing holds any more, and of what was lost, nothing is said: then nothing is marked as seen.
        """
        if self.probe is None:
            return []
        found = []
        for stamp, what in self.probe.read():
            place = _node_of(what, after) if isinstance(what, IpvsConnection) else None
            if place is not None:
                found.append(watch.note(place, what, stamp))
        return found


def _node_of(chosen: IpvsConnection, after: Sequence[NodeState]) -> str | None:
    wanted = (chosen.protocol, chosen.client, chosen.virtual, chosen.destination)
    for state in after:
        for each in parse_connections(state.ipvs_connections[1]):
            if (each.protocol, each.client, each.virtual, each.destination) == wanted:
                return state.node
    return None


def watch_choices(mode: str, sandbox: str, runner: Runner) -> IpvsChoices:
    """Set the probe in ipvs mode, in a guest: there the kernel is the lab's own. Call it when ip_vs is loaded."""
    if mode != "ipvs" or not sandbox.startswith("microvm"):
        return IpvsChoices()
    try:
        runner.run(["mount", "-t", "tracefs", "tracefs", str(TRACING)])
        return IpvsChoices(open_ipvs_probe(TRACING))
    except (ProgramError, CaptureError):
        # A kernel of somebody's own choice may lack it; the journey then marks the choice as rebuilt.
        return IpvsChoices()
