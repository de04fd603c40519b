"""A session out of a recording: what was seen once, shown again on any machine.

It keeps the protocol of `kplab.session.base.Session`. What only a living lab can do is refused, with the way to it.
"""

from __future__ import annotations

from pathlib import Path

from kplab.errors import UnknownNameError, UsageError
from kplab.model.packet import SendSpec
from kplab.session.base import ExecResult, Shell
from kplab.trace.file import read_trace
from kplab.trace.recording import NodeState, Recording

_HINT = "Start a lab for that: `kplab start lesson-3`, or `kplab trace …` with root or user namespaces."


class ReplaySession:
    """One recording as a session. `live` is False; nothing is started, and `close` ends nothing."""

    live = False

    def __init__(self, recording: Recording, name: str = "the recording") -> None:
        """`name` is the file's, for messages."""
        self.recording = recording
        self.topology = recording.topology
        self.facts = recording.facts
        self._name = name

    def send(self, spec: SendSpec, sender: str) -> Recording:
        """Return the recording, if this is the question that it answers. Raises UsageError for any other."""
        if (spec, sender) == (self.recording.spec, self.recording.sender):
            return self.recording
        raise self._refused("send another packet")

    def read_node(self, node: str) -> NodeState:
        """Return the node's state as it was recorded. Raises UnknownNameError."""
        for state in self.recording.nodes:
            if state.node == node:
                return state
        known = ", ".join(state.node for state in self.recording.nodes) or "none"
        raise UnknownNameError(f"{self._name} holds no node {node!r}", hint=f"It holds: {known}.")

    def execute(self, namespace: str, argv: tuple[str, ...], stdin: str = "") -> ExecResult:
        """Raise UsageError: there is nothing to run a program in."""
        raise self._refused(f"run {argv[0] if argv else 'a program'} in {namespace}")

    def shell(self, namespace: str, columns: int, rows: int) -> Shell:
        """Raise UsageError: there is nothing to open a shell in."""
        raise self._refused(f"open a shell in {namespace}")

    def apply(self, manifest: str) -> None:
        """Raise UsageError: there is no kube-proxy that would act on it."""
        raise self._refused("change the cluster")

    def close(self) -> None:
        """Do nothing: no lab was started."""

    def _refused(self, what: str) -> UsageError:
        return UsageError(f"{self._name} is a replay and cannot {what}", "no lab is running behind it", _HINT)


def open_replay(path: Path) -> ReplaySession:
    """Return a session out of a `.kptrace` file. Raises TraceFileError."""
    return ReplaySession(read_trace(path), path.name)
