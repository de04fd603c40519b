"""How soon a student sees something: the first paint of the screen, and the lesson on a standing lab."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure

KPLAB = Path(sys.executable).with_name("kplab")
LIMIT = 60.0


def _start() -> tuple[float, float]:
    """Start the lesson on a terminal; return seconds to the first paint, and to the prompt of the lesson."""
    begun = time.perf_counter()
    pid, master = pty.fork()
    if pid == 0:
        os.execve(KPLAB, [str(KPLAB), "start", "lesson-3"], {**os.environ, "TERM": "xterm-256color"})  # noqa: S606
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
    seen, first = b"", 0.0
    try:
        while b"packet>" not in seen:
            if time.perf_counter() - begun > LIMIT:
                raise TimeoutError(f"no screen after {LIMIT:g} s: {seen[-200:]!r}")
            if select.select([master], [], [], 0.01)[0]:
                seen += os.read(master, 65536)
            if not first and b"The packet path" in seen:
                first = time.perf_counter() - begun
        return first, time.perf_counter() - begun
    finally:
        os.kill(pid, signal.SIGTERM)
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if select.select([master], [], [], 0.05)[0]:
                try:
                    os.read(master, 65536)
                except OSError:  # the other side has closed the terminal
                    continue


def measure() -> Iterator[Figure]:
    """Yield the medians of three starts."""
    starts = [_start() for _ in range(3)]
    yield Figure("screen: first paint", statistics.median(first for first, _ in starts), "s", 1.5)
    yield Figure("screen: lesson on a standing lab", statistics.median(lesson for _, lesson in starts), "s")
