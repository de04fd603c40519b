"""What the user's side and the agent say to each other.

A closed union of msgspec structs, framed by `kplab.protocol.frames`: four bytes of length (big-endian), then
MessagePack. Every request carries `id`; every answer to it carries the same. `EventBatch`, `Progress`,
`ShellData` and `ShellEnded` come unasked. Version and limits: `VERSION`, `MAX_FRAME`.
"""

from __future__ import annotations

import msgspec

from kplab.model.packet import SendSpec
from kplab.model.topology import Topology
from kplab.trace.events import KernelEvent
from kplab.trace.recording import Backend, Facts, NodeState, Recording

VERSION = 1
MAX_FRAME = 64 * 1024 * 1024
PYTHON = "KPLAB_PYTHON"
"""The environment variable that tells every program in a lab which Python has kplab: the agent's. It need not be the
user's: a container's image brings its own."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every message."""

    id: int = 0


# From the user's side.


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """First message. The agent compares these with its own, and refuses to work in the same namespaces."""

    version: int = VERSION
    boot_id: str
    host_netns: int
    """Inode of the launcher's network namespace."""
    host_mntns: int = 0
    """Inode of the launcher's mount namespace; 0 when it cannot be told."""


class Up(Message, frozen=True, kw_only=True, tag="up"):
    """Build the lab and start kube-proxy on every node. Answered by `LabUp`, with `Progress` before it."""

    manifest: str
    """The whole cluster as YAML."""
    mode: str = "iptables"
    backend: Backend = "nft"
    config: str = ""
    """A KubeProxyConfiguration as YAML, or empty for the lab's default."""
    with_proxy: bool = True
    with_servers: bool = True


class Send(Message, frozen=True, kw_only=True, tag="send"):
    """Send, watch, and answer with a `Recorded`."""

    spec: SendSpec
    sender: str
    settle: float = 0.15
    """Seconds without an event after which the exchange is taken to have ended."""
    limit: float = 3.0
    """Seconds after which it is taken to have ended whatever happens."""


class ReadNode(Message, frozen=True, kw_only=True, tag="read-node"):
    """Answered by `NodeRead`: a node's rules, conntrack entries, addresses, as they are now."""

    node: str


class Exec(Message, frozen=True, kw_only=True, tag="exec"):
    """Run a program in a namespace, with `PYTHON` in its environment. Answered by `ExecDone`."""

    namespace: str
    argv: tuple[str, ...]
    stdin: str = ""
    limit: float = 30.0


class ShellOpen(Message, frozen=True, kw_only=True, tag="shell-open"):
    """Open a pseudo-terminal in a namespace; `id` names the shell from then on. Answered by `Done`."""

    namespace: str
    argv: tuple[str, ...] = ()
    columns: int = 80
    rows: int = 24
    environment: tuple[tuple[str, str], ...] = ()


class ShellData(Message, frozen=True, kw_only=True, tag="shell-data"):
    """Bytes to or from the shell `id`; both directions."""

    data: bytes


class ShellResize(Message, frozen=True, kw_only=True, tag="shell-resize"):
    """The terminal's size changed."""

    columns: int
    rows: int


class ShellEnded(Message, frozen=True, kw_only=True, tag="shell-ended"):
    """The shell `id` ended (agent), or shall be ended (user's side; status is then ignored)."""

    status: int = 0


class Apply(Message, frozen=True, kw_only=True, tag="apply"):
    """Replace the cluster's manifest; answered by `Done` once every node's kube-proxy has synced it."""

    manifest: str


class Status(Message, frozen=True, kw_only=True, tag="status"):
    """Answered by `LabStatus`."""


class Down(Message, frozen=True, kw_only=True, tag="down"):
    """End the lab; answered by `Done`, then the agent exits."""


# From the agent.


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """The answer to Hello."""

    version: int = VERSION
    pid: int = 0
    """The agent's process id as it sees itself: 1 in a process namespace of its own."""


class Progress(Message, frozen=True, kw_only=True, tag="progress"):
    """A step of building began (`done` False) or ended."""

    step: str
    done: bool
    seconds: float
    """Since the lab's start."""


class LabUp(Message, frozen=True, kw_only=True, tag="lab-up"):
    """The lab stands."""

    topology: Topology
    facts: Facts
    seconds: float


class Recorded(Message, frozen=True, kw_only=True, tag="recorded"):
    """The answer to Send."""

    recording: Recording


class NodeRead(Message, frozen=True, kw_only=True, tag="node-read"):
    """The answer to ReadNode."""

    state: NodeState


class ExecDone(Message, frozen=True, kw_only=True, tag="exec-done"):
    """The answer to Exec."""

    status: int
    stdout: str
    stderr: str


class ProcessState(msgspec.Struct, frozen=True):
    """One of the lab's own processes."""

    name: str
    pid: int
    alive: bool


class LabStatus(Message, frozen=True, kw_only=True, tag="lab-status"):
    """The answer to Status."""

    topology: Topology | None
    facts: Facts | None
    processes: tuple[ProcessState, ...]
    manifest: str = ""


class EventBatch(Message, frozen=True, kw_only=True, tag="events"):
    """Events as they happen, for a screen that shows them live (the recording holds all of them again)."""

    events: tuple[KernelEvent, ...]


class Done(Message, frozen=True, kw_only=True, tag="done"):
    """It was done."""


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """It failed: the error class's name in `kplab.errors`, and its three texts."""

    error: str
    tried: str
    happened: str
    hint: str


ToAgent = Hello | Up | Send | ReadNode | Exec | ShellOpen | ShellData | ShellResize | ShellEnded | Apply | Status | Down
ToUser = (
    Welcome | Progress | LabUp | Recorded | NodeRead | ExecDone | LabStatus | EventBatch | Done | Failed | ShellData
    | ShellEnded
)  # fmt: skip
