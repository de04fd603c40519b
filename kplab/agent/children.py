"""Programs that the user's side has running in the lab: a program with its output, or a shell on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import termios
import time

from kplab.agent.connection import Connection
from kplab.lab.start import Streams, lab_environment, start
from kplab.protocol.messages import Exec, ExecDone, ShellData, ShellEnded, ShellOpen

SHELL = ("bash", "--noprofile", "--norc")
_MOST_OUTPUT = 16 * 1024 * 1024
"""Bytes of a program's output that are kept; what comes beyond is dropped, and said."""


class RunningProgram:
    """A program for an `Exec`: its input goes in, its output is gathered until it ends."""

    def __init__(self, request: Exec, owner: Connection) -> None:
        self.owner = owner
        self._request = request
        self._deadline = time.monotonic() + request.limit
        out, stdout = os.pipe2(os.O_CLOEXEC)
        err, stderr = os.pipe2(os.O_CLOEXEC)
        stdin, self._stdin = os.pipe2(os.O_CLOEXEC)
        argv = ("ip", "netns", "exec", request.namespace, *request.argv)
        self.pid = start(argv, Streams(stdin, stdout, stderr), environment=lab_environment())
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)
        self._input = memoryview(request.stdin.encode())
        self._outputs = {out: bytearray(), err: bytearray()}
        self._stdout, self._stderr = self._outputs.values()
        for descriptor in (out, err, self._stdin):
            os.set_blocking(descriptor, False)
        self._status: int | None = None
        self.overdue = False
        self.feed()

    @property
    def readable(self) -> list[int]:
        """Descriptors to wait on for reading."""
        return list(self._outputs)

    @property
    def writable(self) -> list[int]:
        """Descriptors to wait on for writing."""
        return [self._stdin] if self._stdin >= 0 else []

    @property
    def remaining(self) -> float:
        """Seconds until it is killed."""
        return max(0.0, self._deadline - time.monotonic())

    def feed(self) -> None:
        """Write input, as far as it is taken."""
        if self._stdin < 0:
            return
        try:
            while self._input:
                self._input = self._input[os.write(self._stdin, self._input) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            pass
        os.close(self._stdin)
        self._stdin = -1

    def read(self) -> None:
        """Take what was printed."""
        for descriptor, text in list(self._outputs.items()):
            try:
                while data := os.read(descriptor, 65536):
                    text += data[: max(0, _MOST_OUTPUT - len(text))]
            except BlockingIOError:
                continue
            os.close(descriptor)
            del self._outputs[descriptor]

    def reaped(self, status: int) -> None:
        """It has ended; its children may still hold its output, which is not waited for."""
        self._status = status

    def kill(self) -> None:
        """End it and all of its process group."""
        self.overdue = self.remaining <= 0
        _signal(self.pid, signal.SIGKILL)

    def result(self) -> ExecDone | None:
        """Return the answer once it has ended."""
        if self._status is None:
            return None
        self.read()
        for descriptor in (*self._outputs, *self.writable):
            os.close(descriptor)
        self._outputs.clear()
        self._stdin = -1
        stderr = self._stderr.decode(errors="replace")
        if self.overdue:
            stderr += f"kplab: not done after {self._request.limit:g} s, killed\n"
        return ExecDone(
            id=self._request.id, status=self._status, stdout=self._stdout.decode(errors="replace"), stderr=stderr
        )


class RunningShell:
    """A shell on a pseudo-terminal in a namespace."""

    def __init__(self, request: ShellOpen, owner: Connection) -> None:
        self.owner = owner
        self.id = request.id
        self._waiting = bytearray()
        self.terminal, theirs = pty.openpty()
        self.resize(request.columns, request.rows)
        environment = lab_environment(
            {
                "TERM": "xterm-256color",
                "PS1": f"{request.namespace}# ",
                "HISTFILE": "/dev/null",
                "HOME": "/run/kplab",
                **dict(request.environment),
            }
        )
        argv = ("ip", "netns", "exec", request.namespace, *(request.argv or SHELL))
        self.pid = start(argv, Streams(theirs, theirs, theirs), environment=environment, terminal=True)
        os.close(theirs)
        os.set_blocking(self.terminal, False)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal its size; the kernel tells the shell (SIGWINCH)."""
        size = struct.pack("HHHH", min(max(rows, 1), 65535), min(max(columns, 1), 65535), 0, 0)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, size)

    def write(self, data: bytes) -> None:
        """Type something; what the terminal does not take at once waits."""
        self._waiting += data
        try:
            while self._waiting:
                del self._waiting[: os.write(self.terminal, self._waiting)]
        except (BlockingIOError, OSError):
            return

    @property
    def unwritten(self) -> bool:
        """Whether typed bytes wait for the terminal."""
        return bool(self._waiting)

    def read(self) -> ShellData | None:
        """Return what the shell printed, if anything."""
        try:
            data = os.read(self.terminal, 65536)
        except OSError:
            # EIO: the last process on the terminal has gone. EAGAIN: nothing there.
            return None
        return ShellData(id=self.id, data=data) if data else None

    def hang_up(self) -> None:
        """End the shell as a closed terminal does, and whatever ignores that."""
        _signal(self.pid, signal.SIGHUP, signal.SIGCONT, signal.SIGKILL)

    def ended(self, status: int) -> ShellEnded:
        """Close the terminal; return the message that says so."""
        os.close(self.terminal)
        return ShellEnded(id=self.id, status=status)


def _signal(pid: int, *numbers: signal.Signals) -> None:
    """Send each signal to a child's process group; the last one to the child too, which may lead no group yet."""
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, numbers[-1])
