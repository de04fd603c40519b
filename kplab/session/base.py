"""A lab as the faces see it: live, or replayed from a file.

Faces depend on this module only. Calls block; a face that must not block runs them in a worker. `close` may
be called from any thread, any number of times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kplab.model.packet import SendSpec
from kplab.model.topology import Topology
from kplab.trace.recording import Backend, Facts, NodeState, Recording


@dataclass(frozen=True, slots=True)
class Step:
    """A step of building a lab: begun when `done` is False. `seconds` count from the start."""

    name: str
    done: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a program in the lab left."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class LabPlan:
    """What to build."""

    manifest: str
    """The cluster's YAML text."""
    mode: str = "iptables"
    backend: Backend = "nft"
    config: str = ""
    """A KubeProxyConfiguration's YAML text, or empty."""
    sandbox: str = "auto"
    until: float | None = None
    """When it must stand, as `time.monotonic` counts; None for the session's own limit."""


class Shell(Protocol):
    """A pseudo-terminal in one of the lab's namespaces."""

    def write(self, data: bytes) -> None:
        """Send what was typed."""

    def read(self, timeout: float | None = None) -> bytes:
        """Return what the shell printed; b"" when it has ended, or at the timeout (then `ended` is False)."""

    def resize(self, columns: int, rows: int) -> None:
        """Tell the shell its terminal's new size."""

    @property
    def ended(self) -> bool:
        """Whether the shell's process is gone."""

    def close(self) -> None:
        """End the shell."""


class Session(Protocol):
    """A lab, live or recorded."""

    live: bool
    """False for a replay: only what was recorded can be shown."""
    topology: Topology
    facts: Facts

    def send(self, spec: SendSpec, sender: str) -> Recording:
        """Send a packet or run a client, watch it, and return everything that the kernel said."""

    def read_node(self, node: str) -> NodeState:
        """Return a node's rules, conntrack entries and addresses as they are now."""

    def execute(self, namespace: str, argv: tuple[str, ...], stdin: str = "") -> ExecResult:
        """Run a program in a namespace of the lab."""

    def shell(self, namespace: str, columns: int, rows: int) -> Shell:
        """Open a shell in a namespace of the lab."""

    def apply(self, manifest: str) -> None:
        """Replace the cluster's state, and wait until every node's kube-proxy has synced it."""

    def close(self) -> None:
        """End the lab."""


Report = Callable[[Step], None]
"""Called with each step while a lab is built."""
