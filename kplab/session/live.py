"""A live lab: the `Session` that talks to an agent."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from kplab.errors import KplabError, NamespacesError, ProtocolError
from kplab.model.packet import SendSpec
from kplab.model.topology import Topology
from kplab.protocol.messages import (
    Apply,
    Done,
    Down,
    Exec,
    ExecDone,
    Hello,
    LabStatus,
    LabUp,
    NodeRead,
    Progress,
    ReadNode,
    Recorded,
    Send,
    ShellData,
    ShellEnded,
    ShellOpen,
    ShellResize,
    Status,
    ToAgent,
    Up,
    Welcome,
)
from kplab.session.base import ExecResult, LabPlan, Report, Step
from kplab.session.channel import Channel
from kplab.session.sandbox.check import explain, ways
from kplab.session.sandbox.choose import CONTAINER, MICROVM, choose, instead
from kplab.session.sandbox.container import StartedContainer
from kplab.session.sandbox.namespaces import StartedAgent, boot_id, own_namespaces, start_agent
from kplab.trace.recording import Facts, NodeState, Recording

UP_LIMIT = 300.0
ANSWER_LIMIT = 120.0
GREETING_LIMIT = 20.0
END_LIMIT = 2.0

A = TypeVar("A")


class LiveShell:
    """A pseudo-terminal in a namespace of the lab."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._printed = bytearray()
        self._changed = threading.Condition()
        self._ended = False
        self.number = channel.open_shell(self)

    def printed(self, data: bytes) -> None:
        """Take what the shell printed; called by the channel."""
        with self._changed:
            self._printed += data
            self._changed.notify_all()

    def has_ended(self) -> None:
        """Take note of the shell's end; called by the channel."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def write(self, data: bytes) -> None:
        """Send what was typed; a shell that has ended takes no notice."""
        with contextlib.suppress(ProtocolError):
            self._channel.tell(ShellData(id=self.number, data=data))

    def read(self, timeout: float | None = None) -> bytes:
        """Return what the shell printed; b"" when it has ended, or at the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._printed or self._ended, timeout)
            data = bytes(self._printed)
            self._printed.clear()
            return data

    def resize(self, columns: int, rows: int) -> None:
        """Tell the shell its terminal's new size."""
        with contextlib.suppress(ProtocolError):
            self._channel.tell(ShellResize(id=self.number, columns=columns, rows=rows))

    @property
    def ended(self) -> bool:
        """Whether the shell is gone, and everything that it printed has been read."""
        with self._changed:
            return self._ended and not self._printed

    def close(self) -> None:
        """End the shell."""
        if not self._ended:
            with contextlib.suppress(ProtocolError):
                self._channel.tell(ShellEnded(id=self.number))
        self._channel.forget_shell(self.number)
        self.has_ended()


class LiveSession:
    """A lab that stands. Thread-safe; calls block. `close` may be called from anywhere, any number of times."""

    live = True

    def __init__(
        self, channel: Channel, agent: StartedAgent | StartedContainer | None, topology: Topology, facts: Facts
    ) -> None:
        """With `agent` None the lab is kept: closing the session leaves it as it is."""
        self._channel = channel
        self._agent = agent
        self._closing = threading.Lock()
        self.topology = topology
        self.facts = facts

    @property
    def agent_process(self) -> int | None:
        """The pid, on this machine, of what stands around the agent; None for a kept lab.

        It is `unshare`, a guest's keeper, or the client of a container's engine.
        """
        return self._agent.process.pid if self._agent else None

    def send(self, spec: SendSpec, sender: str) -> Recording:
        """Send a packet or run a client, watch it, and return everything that the kernel said."""
        return self._ask(Send(spec=spec, sender=sender), Recorded).recording

    def read_node(self, node: str) -> NodeState:
        """Return a node's rules, conntrack entries and addresses as they are now."""
        return self._ask(ReadNode(node=node), NodeRead).state

    def execute(self, namespace: str, argv: tuple[str, ...], stdin: str = "") -> ExecResult:
        """Run a program in a namespace of the lab."""
        done = self._ask(Exec(namespace=namespace, argv=tuple(argv), stdin=stdin), ExecDone)
        return ExecResult(done.status, done.stdout, done.stderr)

    def shell(self, namespace: str, columns: int, rows: int) -> LiveShell:
        """Open a shell in a namespace of the lab."""
        shell = LiveShell(self._channel)
        # Its data may come before the answer: it is named by its own number, and the question by another.
        opened = ShellOpen(id=shell.number, namespace=namespace, columns=columns, rows=rows)
        try:
            self._ask(opened, Done)
        except KplabError:
            self._channel.forget_shell(shell.number)
            raise
        return shell

    def apply(self, manifest: str) -> None:
        """Replace the cluster's state, and wait until every node's kube-proxy has synced it."""
        self._ask(Apply(manifest=manifest), Done)

    def status(self) -> LabStatus:
        """Return the lab's processes, living and dead, and its manifest."""
        return self._ask(Status(), LabStatus)

    def end(self) -> None:
        """End the lab, kept or not, and wait until it is gone."""
        with contextlib.suppress(ProtocolError):
            self._ask(Down(), Done)
        self._channel.wait_gone(END_LIMIT)
        self.close()

    def close(self) -> None:
        """End the lab; of a kept lab only this session."""
        with self._closing:
            self._channel.close()
            if self._agent:
                self._agent.wait(END_LIMIT)

    def _ask(self, request: ToAgent, expected: type[A]) -> A:
        return ask(self._channel, request, expected, ANSWER_LIMIT)


def start_lab(plan: LabPlan, report: Report | None = None) -> LiveSession:
    """Build a lab that lives as long as its session.

    Raises:
        SandboxError: no lab can be started on this machine; the hint says what mends it.
        UsageError: the plan cannot be used. LabError: something could not be built.
    """
    agent, channel, report = _greeted(plan, report)
    with contextlib.ExitStack() as undo:
        undo.callback(agent.wait, END_LIMIT)
        undo.callback(channel.close)
        up = bring_up(channel, plan, report)
        undo.pop_all()
    return LiveSession(channel, agent, up.topology, up.facts)


def bring_up(channel: Channel, plan: LabPlan, report: Report | None) -> LabUp:
    """Have a greeted agent build its lab."""
    request = Up(manifest=plan.manifest, mode=plan.mode, backend=plan.backend, config=plan.config)

    def progress(message: Progress) -> None:
        if report:
            report(Step(message.step, message.done, message.seconds))

    limit = UP_LIMIT if plan.until is None else min(max(plan.until - time.monotonic(), 0.0), UP_LIMIT)
    return ask(channel, request, LabUp, limit, progress)


def greet(channel: Channel, limit: float = GREETING_LIMIT, progress: Callable[[Progress], None] | None = None) -> None:
    """Say Hello.

    Raises:
        ProtocolError: the agent has gone, or is of another version. GuardError: it refuses its namespaces.
    """
    own = own_namespaces()
    hello = Hello(boot_id=boot_id(), host_netns=own["net"], host_mntns=own["mnt"])
    ask(channel, hello, Welcome, limit, progress)


def ask(
    channel: Channel,
    request: ToAgent,
    expected: type[A],
    limit: float,
    progress: Callable[[Progress], None] | None = None,
) -> A:
    """Ask for an answer of one type.

    Raises:
        KplabError: what the agent answered with. ProtocolError: it has gone, or answered something else.
    """
    answer = channel.ask(request, limit, progress)
    if not isinstance(answer, expected):
        raise ProtocolError(f"ask the lab ({type(request).__name__})", f"it answered with {type(answer).__name__}")
    return answer


def _greeted(plan: LabPlan, report: Report | None) -> tuple[StartedAgent | StartedContainer, Channel, Report | None]:
    """Start and greet an agent in the sandbox that was asked for; left to us, in a container where namespaces fail."""
    choice = choose(plan.sandbox, plan.mode)
    if choice.sandbox == MICROVM:
        from kplab.session.guests import greeted_guest

        return greeted_guest(greet, report, choice.why)
    if choice.sandbox != CONTAINER:
        try:
            return *_greeted_agent(plan.mode), report
        except NamespacesError as error:
            # An agent that was killed, or ended, is another matter: a container would not be what was missing.
            choice = instead(plan.sandbox, plan.mode, error)
    from kplab.session.containers import greeted_container

    return greeted_container(greet, report, choice.why, plan.mode)


def _greeted_agent(mode: str) -> tuple[StartedAgent, Channel]:
    """Start an agent, in a user namespace of its own if the kernel allows it, else as root without.

    Raises:
        NamespacesError: the kernel allows neither. SandboxError: the agent ended.
    """
    failures, refused = [], False
    for own_user in ways(mode):
        agent = start_agent(own_user=own_user)
        assert agent.channel is not None  # noqa: S101 - it does not listen
        with contextlib.ExitStack() as undo:
            undo.callback(agent.wait, END_LIMIT)
            channel = Channel(agent.channel, agent.last_words)
            undo.callback(channel.close)
            try:
                greet(channel)
            except ProtocolError as error:
                failures.append(agent.last_words() or error.happened)
                refused = agent.refused()
                if not refused:
                    break
            else:
                undo.pop_all()
                return agent, channel
    raise explain(failures, refused=refused)
