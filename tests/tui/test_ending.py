"""Leaving in every way: the lab goes, the exit status tells why, and nothing is left behind."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.tui, pytest.mark.timeout(120)]

LIMIT = 30.0
KPLAB = Path(sys.executable).with_name("kplab")


class Terminal:
    """`kplab start lesson-3` on a terminal of its own."""

    def __init__(self) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execve(KPLAB, [str(KPLAB), "start", "lesson-3"], {**os.environ, "TERM": "xterm-256color"})  # noqa: S606
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
        self.seen = b""
        self.ended = False

    def read(self, seconds: float) -> None:
        """Take in what is printed, for at most that long."""
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.master, 65536)
            except OSError as error:
                if error.errno != errno.EIO:  # the other side has closed the terminal
                    raise

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Read until something holds."""
        end = time.monotonic() + LIMIT
        while not holds():
            assert time.monotonic() < end, f"waited {LIMIT:g} s for {what}: {self.seen[-400:]!r}"
            self.read(0.05)

    def shows(self, text: bytes) -> None:
        """Wait for a text, among what is printed from now on."""
        self.until(lambda: text in self.seen, repr(text))
        self.seen = b""

    def type(self, text: bytes) -> None:
        """Type."""
        os.write(self.master, text)

    def descendants(self) -> set[int]:
        """Return the processes below kplab."""
        found, fresh = set[int](), {self.pid}
        while fresh:
            found |= fresh
            fresh = {pid for pid, parent in parents().items() if parent in fresh} - found
        return found - {self.pid}

    def status(self) -> int:
        """Wait for the end, and return the exit status."""
        done: list[int] = []

        def ended() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.ended = True
                done.append(os.waitstatus_to_exitcode(status))
            return bool(done)

        self.until(ended, "the end")
        return done[0]


def parents() -> dict[int, int]:
    """Return every process's parent."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it ended meanwhile
                continue
    return found


def alive(pids: set[int]) -> set[int]:
    """Return those processes that still run."""
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """The lesson, open on a terminal; a kplab that outlives its test is killed."""
    opened = Terminal()
    yield from _opened(opened)
    if not opened.ended:
        os.kill(opened.pid, signal.SIGKILL)
        os.waitpid(opened.pid, 0)


def _opened(opened: Terminal) -> Iterator[Terminal]:
    opened.until(lambda: b"packet>" in opened.seen or b"leaves" in opened.seen, "the screen")
    if b"packet>" not in opened.seen:
        opened.type(b"q")
        opened.status()
        pytest.skip(f"no lab can be started here: {opened.seen[-300:]!r}")
    opened.seen = b""
    yield opened


@pytest.mark.parametrize(
    ("leave", "status"),
    [
        (lambda t: t.type(b"q"), 0),
        (lambda t: t.type(b"\x03"), 0),
        (lambda t: os.kill(t.pid, signal.SIGTERM), 128 + signal.SIGTERM),
        (lambda t: os.kill(t.pid, signal.SIGHUP), 128 + signal.SIGHUP),
    ],
    ids=["q", "ctrl+c", "SIGTERM", "SIGHUP"],
)
def test_every_way_to_leave_ends_the_lab(terminal: Terminal, leave: Callable[[Terminal], None], status: int) -> None:
    """All processes of the lab are gone when kplab is."""
    below = terminal.descendants()
    assert below

    leave(terminal)

    assert terminal.status() == status
    terminal.until(lambda: not alive(below), "the lab's processes to go")


def test_a_shell_has_the_terminal_and_gives_it_back(terminal: Terminal) -> None:
    """What is typed goes to the node; `exit` leads back to the lesson."""
    terminal.type(b"s")
    terminal.shows(b"A shell in")
    terminal.type(b"\r")
    terminal.shows(b"nothing outside it can be changed")
    terminal.shows(b"# ")
    terminal.type(b"iptables -t nat -S KUBE-SERVICES | head -1; stty size\r")
    terminal.shows(b"-N KUBE-SERVICES")
    terminal.shows(b"36 120")
    terminal.type(b"exit\r")
    terminal.shows(b"packet path")

    terminal.type(b"q")

    assert terminal.status() == 0


def test_a_signal_ends_the_lab_while_a_shell_holds_the_terminal(terminal: Terminal) -> None:
    """The event loop stands still then; the lab ends all the same."""
    below = terminal.descendants()
    terminal.type(b"s")
    terminal.shows(b"A shell in")
    terminal.type(b"\r")
    terminal.shows(b"nothing outside it can be changed")

    os.kill(terminal.pid, signal.SIGTERM)

    assert terminal.status() == 128 + signal.SIGTERM
    terminal.until(lambda: not alive(below), "the lab's processes to go")


def test_a_terminal_that_goes_away_takes_the_lab_with_it(terminal: Terminal) -> None:
    """As when a window is closed: no process stays."""
    below = terminal.descendants()

    os.close(terminal.master)

    end = time.monotonic() + LIMIT
    while os.waitpid(terminal.pid, os.WNOHANG) == (0, 0):
        assert time.monotonic() < end, "kplab outlived its terminal"
        select.select([], [], [], 0.05)
    terminal.ended = True
    while alive(below):
        assert time.monotonic() < end, f"left behind: {alive(below)}"
        select.select([], [], [], 0.05)
