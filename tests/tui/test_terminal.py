"""The terminal is drawn on, and given back: errors redirected, signals, a fault, an end in haste."""

from __future__ import annotations

import errno
import os
import pty
import select
import signal
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kplab.tui.terminal import LEAVE

pytestmark = [pytest.mark.tui, pytest.mark.timeout(60)]

LIMIT = 20.0
KPLAB = Path(sys.executable).with_name("kplab")
TRACE = Path(__file__).parents[1] / "data" / "recordings" / "lab-nft-lb-refused.kptrace"
OTHER_SCREEN, OWN_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
HELD = """
import os, sys, time
from pathlib import Path
from kplab.tui import app, run
from kplab.trace.file import read_trace
{fault}
sys.exit(run.run_replay(read_trace(Path({trace!r}))))
"""
FAULT = "app.KplabApp._watch_signals = lambda self: 1 / 0"
"""A fault in the midst of drawing."""
DEAF = "app.KplabApp._watch_signals = lambda self: os.write(2, b'READY') and time.sleep(60)"
"""The signal comes before the app sees to signals itself."""
STUCK = "app.GRACE = 0.1; app.KplabApp.exit = lambda self, **given: time.sleep(60)"
"""The event loop stands still, so that the process must be ended in haste."""


class Replay:
    """A program on a terminal of its own, its errors in a file."""

    def __init__(self, argv: list[str], errors: Path) -> None:
        self.errors = errors
        file = os.open(errors, os.O_WRONLY | os.O_CREAT, 0o600)
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(self.master, (36, 120))
        self.before = termios.tcgetattr(self.master)
        self.pid = os.fork()
        if self.pid == 0:
            os.login_tty(slave) if hasattr(os, "login_tty") else _login(slave)
            os.dup2(file, 2)
            os.execve(argv[0], argv, {**os.environ, "TERM": "xterm-256color"})  # noqa: S606
        os.close(slave)
        os.close(file)
        self.seen = b""

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Read until something holds."""
        end = time.monotonic() + LIMIT
        while not holds():
            assert time.monotonic() < end, f"waited {LIMIT:g} s for {what}: {self.seen[-300:]!r}"
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError as error:
                    if error.errno != errno.EIO:  # the other side has closed the terminal
                        raise

    def drawn(self) -> None:
        """Wait until the screen is there."""
        self.until(lambda: b"hop" in self.seen and OTHER_SCREEN in self.seen, "the screen")

    def status(self) -> int:
        """Wait for the end, and return the exit status."""
        done: list[int] = []

        def ended() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            done.extend([os.waitstatus_to_exitcode(status)] if pid else [])
            return bool(done)

        self.until(ended, "the end")
        return done[0]

    def given_back(self) -> bool:
        """Tell whether the terminal is as it was found: its modes, its own screen, its cursor."""
        self.until(lambda: OWN_SCREEN in self.seen, "the terminal's own screen")
        shown = self.seen.rindex(b"\x1b[?25h") > self.seen.rindex(b"\x1b[?25l")
        return shown and termios.tcgetattr(self.master)[:4] == self.before[:4]


def _login(slave: int) -> None:
    os.setsid()
    for number in (0, 1):
        os.dup2(slave, number)
    os.close(os.open(os.ttyname(slave), os.O_RDWR))  # the first terminal that a session opens is its own


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Replay]:
    """Return what replays a trace with a fault of that kind."""

    def start(fault: str) -> Replay:
        text = HELD.format(fault=fault, trace=str(TRACE))
        return Replay([sys.executable, "-c", text], tmp_path / "errors")

    return start


def test_errors_in_a_file_do_not_take_the_screen_with_them(tmp_path: Path) -> None:
    """`2>file`: the screen is on the terminal, the file stays empty, q gives the terminal back."""
    replay = Replay([str(KPLAB), "replay", str(TRACE)], tmp_path / "errors")
    replay.drawn()

    os.write(replay.master, b"q")

    assert replay.status() == 0
    assert replay.given_back()
    assert replay.errors.read_text() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_gives_the_terminal_back(program: Callable[[str], Replay], number: signal.Signals) -> None:
    """Whoever ends kplab finds a terminal that can be typed on."""
    replay = program("")
    replay.drawn()

    os.kill(replay.pid, number)

    assert replay.status() in {0, 128 + number}
    assert replay.given_back()


def test_a_fault_gives_the_terminal_back(program: Callable[[str], Replay]) -> None:
    """The report is to be read on the terminal's own screen."""
    replay = program(FAULT)

    assert replay.status() == 1
    assert replay.given_back()


def test_an_early_signal_gives_the_terminal_back(program: Callable[[str], Replay]) -> None:
    """Also while the app does not listen yet."""
    replay = program(DEAF)
    replay.until(lambda: "READY" in replay.errors.read_text(), "the app")

    os.kill(replay.pid, signal.SIGTERM)

    assert replay.status() == 128 + signal.SIGTERM
    assert replay.given_back()


def test_an_end_in_haste_gives_the_terminal_back(program: Callable[[str], Replay]) -> None:
    """A process that does not end in order is ended; the terminal is mended before."""
    replay = program(STUCK)
    replay.drawn()

    os.kill(replay.pid, signal.SIGTERM)

    assert replay.status() == 128 + signal.SIGTERM
    assert LEAVE.encode() in replay.seen
    assert replay.given_back()
