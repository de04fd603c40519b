"""The agent's loop: one thread, all descriptors; takes requests, answers them, notices what ends."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from functools import partial
from typing import assert_never

from kplab.agent.children import RunningProgram, RunningShell
from kplab.agent.connection import Connection, failure
from kplab.agent.guard import refuse_foreign_namespaces
from kplab.agent.lab import Helpers, Lab
from kplab.agent.planning import plan_manifest
from kplab.agent.proxies import read_reports, wait_synced, write_manifest
from kplab.agent.sending import record
from kplab.agent.up import build_lab
from kplab.agent.wait import close_together
from kplab.errors import GuardError, KplabError, LabError, ProtocolError
from kplab.protocol.messages import (
    Apply,
    Done,
    Down,
    Exec,
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
from kplab.trace.recording import NodeState


class Agent:
    """Serves one channel, or, for a kept lab, everyone who connects."""

    def __init__(self, helpers: Helpers, sandbox: str, channel: socket.socket, *, listening: bool) -> None:
        self._helpers = helpers
        self._sandbox = sandbox
        self._listener = channel if listening else None
        self._connections: list[Connection] = [] if listening else [Connection(channel)]
        self._lab: Lab | None = None
        self._programs: list[RunningProgram] = []
        self._shells: list[RunningShell] = []
        self._ending = False
        self._abandoned = False
        """Whether a kept lab ends when the last connection closes: nobody has asked it anything since it stands."""
        self._woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            # Pid 1 is sent only those signals that it has a handler for.
            signal.signal(number, lambda *_: None)

    def run(self) -> None:
        """Serve until the channel closes, `Down` is asked for, or SIGTERM comes. Then the process is to end."""
        while not self._ending:
            with selectors.DefaultSelector() as selector:
                self._register(selector)
                for key, mask in selector.select(self._patience()):
                    handler: Callable[[], None] = key.data[0 if mask & selectors.EVENT_READ else 1]
                    handler()
            self._clean_up()
        if self._lab:
            close_together(self._lab.watch.filenos())

    def _register(self, selector: selectors.BaseSelector) -> None:
        """Name everything that can happen now, and what is done then."""

        def on(descriptor: int, read: Callable[[], None] | None, write: Callable[[], None] | None = None) -> None:
            mask = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
            selector.register(descriptor, mask, (read or write, write or read))

        on(self._woken, self._signalled)
        if self._listener:
            on(self._listener.fileno(), self._accept)
        for each in self._connections:
            on(each.socket.fileno(), partial(self._serve, each), each.flush if each.unsent else None)
        for program in self._programs:
            for descriptor in program.readable:
                on(descriptor, program.read)
            for descriptor in program.writable:
                on(descriptor, None, program.feed)
        for shell in self._shells:
            on(shell.terminal, partial(self._relay, shell), self._typing(shell))
        if self._lab:
            # Nobody has asked: what comes now is thrown away, so that nothing overflows.
            on(self._helpers.nursery.reports, self._discard_reports)
            for descriptor in self._lab.watch.filenos():
                on(descriptor, self._lab.watch.clear)
            for descriptor in self._lab.sockets.filenos():
                on(descriptor, self._lab.sockets.discard)
            for proxy in self._lab.proxies:
                if proxy.alive:
                    on(proxy.reports, partial(read_reports, proxy))

    def _typing(self, shell: RunningShell) -> Callable[[], None] | None:
        return partial(shell.write, b"") if shell.unwritten else None

    def _discard_reports(self) -> None:
        self._helpers.nursery.read()

    def _patience(self) -> float | None:
        return min((program.remaining for program in self._programs), default=None)

    def _signalled(self) -> None:
        numbers = os.read(self._woken, 4096)
        if signal.SIGTERM in numbers:
            self._ending = True
        self._reap()

    def _reap(self) -> None:
        """Collect every process that has ended: as pid 1 we are everybody's last parent."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._ended(pid, os.waitstatus_to_exitcode(status))

    def _ended(self, pid: int, status: int) -> None:
        for program in self._programs:
            if program.pid == pid:
                program.reaped(status)
        for shell in list(self._shells):
            if shell.pid == pid:
                self._shells.remove(shell)
                while data := shell.read():
                    shell.owner.send(data)
                shell.owner.send(shell.ended(status))
        if self._lab:
            self._lab.ended(pid)
        for helper in (self._helpers.nursery, self._helpers.crafter):
            if helper.pid == pid:
                helper.alive = False

    def _clean_up(self) -> None:
        """Answer for programs that have ended, and forget connections that have gone with all that was theirs."""
        for program in list(self._programs):
            if program.remaining <= 0 or program.owner.gone:
                program.kill()
            done = program.result()
            if done:
                self._programs.remove(program)
                program.owner.send(done)
        for connection in list(self._connections):
            if connection.gone:
                self._connections.remove(connection)
                for shell in self._shells:
                    if shell.owner is connection:
                        shell.hang_up()
                connection.close()
        if not self._connections and (self._listener is None or self._abandoned):
            self._ending = True

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101 - only registered when there is one
        try:
            channel, _ = self._listener.accept()
        except OSError:
            return
        if _peer_uid(channel) != os.getuid():
            channel.close()
            return
        self._connections.append(Connection(channel))
        self._abandoned = self._abandoned or self._lab is None

    def _serve(self, connection: Connection) -> None:
        try:
            messages = connection.receive()
        except ProtocolError as error:
            # The stream's place is lost: say so, and hang up.
            connection.send(failure(error, 0))
            connection.gone = True
            return
        for message in messages:
            try:
                self._handle(message, connection)
            except KplabError as error:
                connection.send(failure(error, message.id))
                if isinstance(error, GuardError) and not connection.greeted:
                    self._ending = True
            except Exception as error:
                # The edge: a mistake of ours is told to the user's side, and the lab lives on.
                shown = LabError(
                    f"the agent failed at {type(message).__name__}",
                    "".join(traceback.format_exception(error)),
                    "this is a mistake in kplab: please report it with the text above",
                )
                connection.send(failure(shown, message.id))

    def _handle(self, message: ToAgent, connection: Connection) -> None:
        if isinstance(message, Hello):
            refuse_foreign_namespaces(message)
            connection.greeted = True
            connection.send(Welcome(id=message.id, pid=os.getpid()))
            return
        if not connection.greeted:
            raise ProtocolError("talk to the agent", "it has not been greeted", "send Hello first")
        self._abandoned = self._abandoned and self._lab is None
        match message:
            case Up():
                self._up(message, connection)
            case Send():
                connection.send(
                    Recorded(id=message.id, recording=record(self._standing(), message, _hangup(connection)))
                )
            case ReadNode():
                connection.send(NodeRead(id=message.id, state=self._read_node(message)))
            case Exec():
                self._standing().namespace(message.namespace)
                self._programs.append(RunningProgram(message, connection))
            case ShellOpen():
                self._standing().namespace(message.namespace)
                self._shells.append(RunningShell(message, connection))
                connection.send(Done(id=message.id))
            case ShellData() | ShellResize() | ShellEnded():
                self._to_shell(message, connection)
            case Apply():
                self._apply(message, connection)
            case Status():
                connection.send(self._status(message.id))
            case Down():
                connection.send(Done(id=message.id))
                self._ending = True
            case _:
                assert_never(message)

    def _standing(self) -> Lab:
        if self._lab is None:
            raise LabError("work in the lab", "it does not stand yet", "send Up first")
        return self._lab

    def _up(self, message: Up, connection: Connection) -> None:
        if self._lab is not None:
            raise LabError("build the lab", "it stands already", "end it first: kplab lab down")

        def tell(step: str, done: bool, seconds: float) -> None:
            connection.send(Progress(id=message.id, step=step, done=done, seconds=seconds))

        self._lab, seconds = build_lab(message, self._helpers, self._sandbox, _hangup(connection), tell)
        connection.send(LabUp(id=message.id, topology=self._lab.topology, facts=self._lab.facts, seconds=seconds))
        self._helpers.crafter.warm()

    def _read_node(self, message: ReadNode) -> NodeState:
        lab = self._standing()
        if lab.namespace(message.node).role != "node":
            names = ", ".join(node.name for node in lab.nodes())
            raise LabError(f"read the rules of {message.node}", "it is not a node", f"the nodes are: {names}")
        return lab.reader.read(message.node)

    def _apply(self, message: Apply, connection: Connection) -> None:
        """Have a new manifest synced. Nodes and pods stay those that the lab was built with."""
        lab = self._standing()
        plan_manifest(message.manifest, with_servers=False)
        lab.manifest = message.manifest
        wait_synced(lab.proxies, write_manifest(message.manifest), _hangup(connection))
        connection.send(Done(id=message.id))

    def _status(self, request: int) -> LabStatus:
        self._reap()
        lab = self._lab
        if lab is None:
            return LabStatus(id=request, topology=None, facts=None, processes=())
        return LabStatus(
            id=request, topology=lab.topology, facts=lab.facts, processes=lab.processes(), manifest=lab.manifest
        )

    def _to_shell(self, message: ShellData | ShellResize | ShellEnded, connection: Connection) -> None:
        """Pass something on to a shell; one that has ended meanwhile has said so already."""
        for shell in self._shells:
            if shell.id == message.id and shell.owner is connection:
                match message:
                    case ShellData():
                        shell.write(message.data)
                    case ShellResize():
                        shell.resize(message.columns, message.rows)
                    case ShellEnded():
                        shell.hang_up()
                    case _:
                        assert_never(message)

    def _relay(self, shell: RunningShell) -> None:
        # It may have ended since it was found readable, and its descriptor may be another's by now.
        data = shell.read() if shell in self._shells else None
        if data:
            shell.owner.send(data)


def _hangup(connection: Connection) -> int:
    return connection.socket.fileno()


def _peer_uid(channel: socket.socket) -> int:
    """The user id of whoever connected, as our user namespace sees it."""
    credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)
