"""eBPF mode's programs as the agent holds them: attached for as long as it lives, their reports read with the rest."""

from __future__ import annotations

from dataclasses import dataclass

from kplab.capture.bpf_sockets import SocketCalls
from kplab.capture.watch import Watch
from kplab.lab.ebpf import Balancers, attach_balancers
from kplab.lab.netns import NetworkNamespaces
from kplab.lab.run import Runner
from kplab.model.topology import Topology
from kplab.trace.events import KernelEvent


@dataclass(slots=True)
class Sockets:
    """The programs' links, and their event rings; both empty in every other mode."""

    balancers: Balancers | None = None
    calls: SocketCalls | None = None

    def filenos(self) -> list[int]:
        """Return the descriptors to wait on before `events`."""
        return self.calls.filenos() if self.calls else []

    def events(self, watch: Watch) -> list[KernelEvent]:
        """Return what the programs have reported, numbered among the watch's events. Never blocks."""
        if self.calls is None:
            return []
        return [watch.note(each.place, each.what, each.stamp) for each in self.calls.read()]

    def discard(self) -> None:
        """Throw away what has been reported."""
        if self.calls is not None:
            self.calls.read()


def attach_sockets(mode: str, topology: Topology, namespaces: NetworkNamespaces, runner: Runner) -> Sockets:
    """Attach the programs in eBPF mode; in any other, nothing is done.

    Raises:
        SandboxError: what is needed is missing. ApplyError: the verifier refuses. LabError, CaptureError.
    """
    if mode != "ebpf":
        return Sockets()
    balancers = attach_balancers(topology, namespaces, runner)
    return Sockets(balancers, SocketCalls(balancers.rings, balancers.cookies, balancers.lost))
