"""A guest to run programs in."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kplab.errors import SandboxError
from kplab.session.sandbox.microvm import PORT, console, find_machine, start_guest, wait_booted
from kplab.session.sandbox.namespaces import StartedAgent

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ran:
    """What a program in the guest left."""

    status: int
    stdout: str
    stderr: str


class Guest:
    """A guest that runs programs as root, in its kernel's first namespaces.

    It sees this machine's files, the working tree and /tmp included, at their own paths; what it writes stays in it.
    Its Python is `sys.executable`; a program that shall have a network of its own is prefixed by `unshare -nm`.
    """

    def __init__(self, started: StartedAgent) -> None:
        assert started.channel is not None
        self._started = started
        self._lines = started.channel.makefile("rw")

    def run(self, argv: Sequence[str], stdin: str = "", limit: float = 60.0) -> Ran:
        """Run a program and wait for it; at the limit (seconds) it is killed, and its status is 124."""
        assert self._started.channel is not None
        self._started.channel.settimeout(limit + 30)
        self._lines.write(json.dumps({"argv": list(argv), "stdin": stdin, "limit": limit}) + "\n")
        self._lines.flush()
        answer = self._lines.readline()
        assert answer, f"the guest has gone: {console(self._started)}"
        return Ran(**json.loads(answer))

    def python(self, code: str, *arguments: str, limit: float = 60.0) -> Ran:
        """Run Python code, with kplab and the working tree importable."""
        return self.run([sys.executable, "-", *arguments], stdin=code, limit=limit)


def boot() -> StartedAgent:
    """Start a guest that runs programs, and wait for it."""
    machine = find_machine()
    program = (sys.executable, str(ROOT / "tests/vm/run_programs.py"), PORT)
    started = start_guest(machine, program, host_tmp=True)
    try:
        wait_booted(started)
    except SandboxError:
        stop(started)
        raise
    return started


def stop(started: StartedAgent) -> None:
    """End a guest."""
    if started.channel is not None:
        started.channel.shutdown(socket.SHUT_RDWR)
        started.channel.close()
    started.wait(5.0)
