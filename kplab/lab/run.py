"""The only place that runs a program and waits for it: nft, iptables, conntrack, ip, sysctl and their kin.

Callers take a `Runner`, so that a unit test hands them a `ScriptedRunner`: what runs, in which order, with
which input, is then a value that a test compares.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from kplab.errors import ProgramError

DEFAULT_LIMIT = 30.0
"""Seconds after which a program is killed, unless the caller says otherwise."""

PACKAGES = {
    "conntrack": "conntrack", "curl": "curl", "ip": "iproute2", "tc": "iproute2", "ss": "iproute2",
    "bridge": "iproute2", "ipset": "ipset", "ipvsadm": "ipvsadm", "nft": "nftables", "sysctl": "procps",
    "mount": "mount", "umount": "mount", "nsenter": "util-linux", "unshare": "util-linux", "setpriv": "util-linux",
    "tshark": "tshark", "tmux": "tmux", "bash": "bash", "ping": "iputils-ping",
}  # fmt: skip
"""A program's Debian package, for the hint when it is missing. The iptables family is found by its prefix."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has ended: its exit status (negative: the signal that killed it), its output, its time."""

    status: int
    stdout: str
    stderr: str
    seconds: float


class Runner(Protocol):
    """Runs one program to its end."""

    def run(
        self,
        argv: Sequence[str],
        stdin: str | bytes = "",
        *,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        limit: float = DEFAULT_LIMIT,
    ) -> Finished:
        """Run `argv` with `stdin` as its whole input and return what came of it.

        `env` replaces the environment; None keeps ours. With `check`, an exit status other than 0 raises.

        Raises:
            ProgramError: the program is missing, ran longer than `limit` seconds, or (with `check`) failed.

        """
        ...


class SystemRunner:
    """Runs real programs, found on PATH."""

    def run(
        self,
        argv: Sequence[str],
        stdin: str | bytes = "",
        *,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        limit: float = DEFAULT_LIMIT,
    ) -> Finished:
        """Run a program as `Runner.run` says; one that overstays `limit` is killed and reaped."""
        started = time.monotonic()
        data = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            with _input(data) as file:
                ended = subprocess.run(list(argv), stdin=file, capture_output=True, env=env, timeout=limit, check=False)
        except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
            raise _missing(argv, error) from error
        except subprocess.TimeoutExpired as error:
            shown = (error.stderr or b"").decode(errors="replace").strip()
            told = f"not done after {limit:g} s, killed" + (f"; it had said: {shown}" if shown else "")
            raise ProgramError(_running(argv), told, "see what the machine is busy with, then try again") from error
        finished = Finished(
            status=ended.returncode,
            stdout=ended.stdout.decode(errors="replace"),
            stderr=ended.stderr.decode(errors="replace"),
            seconds=time.monotonic() - started,
        )
        return _checked(argv, finished) if check else finished


@dataclass(frozen=True, slots=True)
class Expect:
    """One run that a `ScriptedRunner` expects, and what it then answers; `stdin` None accepts any input."""

    argv: Sequence[str]
    stdin: str | bytes | None = None
    stdout: str = ""
    status: int = 0
    stderr: str = ""


class ScriptedRunner:
    """A runner for tests: runs nothing, and insists on the expected runs in the expected order."""

    def __init__(self, script: Sequence[Expect] = ()) -> None:
        self._script = list(script)
        self.ran: list[tuple[str, ...]] = []
        """Every argv so far."""

    def run(
        self,
        argv: Sequence[str],
        stdin: str | bytes = "",
        *,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        limit: float = DEFAULT_LIMIT,
    ) -> Finished:
        """Answer as the script says.

        Raises:
            AssertionError: another program, or other input, was expected.
            ProgramError: as `Runner.run` says.

        """
        self.ran.append(tuple(argv))
        if not self._script:
            raise AssertionError(f"nothing more was expected to run, but this did: {list(argv)}")
        expected = self._script.pop(0)
        if tuple(expected.argv) != tuple(argv):
            raise AssertionError(f"expected to run {list(expected.argv)}, but this ran: {list(argv)}")
        if expected.stdin is not None and expected.stdin != stdin:
            raise AssertionError(f"{list(argv)}: expected the input {expected.stdin!r}, got {stdin!r}")
        finished = Finished(status=expected.status, stdout=expected.stdout, stderr=expected.stderr, seconds=0.0)
        return _checked(argv, finished) if check else finished

    def assert_done(self) -> None:
        """Insist that everything expected has run.

        Raises:
            AssertionError: something has not.

        """
        if self._script:
            raise AssertionError(f"expected to run as well: {[list(expect.argv) for expect in self._script]}")


@contextmanager
def _input(data: bytes) -> Iterator[int]:
    """Give the input as a file in memory: a pipe is filled 4 KiB at a time, which megabytes of rules feel."""
    file = os.memfd_create("input", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        os.lseek(file, 0, os.SEEK_SET)
        yield file
    finally:
        os.close(file)


def _checked(argv: Sequence[str], finished: Finished) -> Finished:
    if finished.status == 0:
        return finished
    told = finished.stderr.strip() or finished.stdout.strip() or "it printed nothing"
    how = f"exit status {finished.status}" if finished.status > 0 else f"killed by signal {-finished.status}"
    raise ProgramError(_running(argv), f"{told} ({how})", status=finished.status)


def _missing(argv: Sequence[str], error: OSError) -> ProgramError:
    hint = f"install it: apt-get install {_package(argv[0])}"
    if isinstance(error, PermissionError):
        hint = "it is there, and this user may not run it"
    return ProgramError(_running(argv), error.strerror or str(error), hint, status=127)


def _package(program: str) -> str:
    name = program.rsplit("/", 1)[-1]
    if name.startswith(("iptables", "ip6tables", "xtables")):
        return "iptables"
    return PACKAGES.get(name, name)


def _running(argv: Sequence[str]) -> str:
    return "run " + " ".join(argv)
