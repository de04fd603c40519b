"""Labs to look at, and what the machine looks like without them."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kplab.session.base import LabPlan
from kplab.session.live import LiveSession, start_lab
from kplab.session.sandbox.check import can_run

ROOT = Path(__file__).resolve().parents[3]
KINDS = ("net", "mnt", "pid", "user")
LIMIT = 5.0
"""Seconds within which the kernel has taken away what is left of a lab."""

_VOLATILE = re.compile(
    r"^(fs\.(dentry-state|file-nr|inode-nr|inode-state|aio-nr|quota)|kernel\.(ns_last_pid|random|pty\.nr|sched_)"
    r"|net\.netfilter\.nf_conntrack_count|net\.(ipv4|ipv6)\.[^ ]*gc_|vm\.)"
)
"""Sysctls that tell what goes on, rather than how the machine is set."""


@dataclass(frozen=True)
class Remains:
    """What there is of a lab on this machine: numbers of its namespaces, and its processes.

    The kernel gives the number of a namespace that has gone to the next one, which may be another lab's on the same
    machine. So processes count only if they began before we started to look for what is left, and if they were not
    there, elsewhere, while the lab was.
    """

    namespaces: frozenset[tuple[str, int]]
    pids: frozenset[int]
    others: frozenset[int]
    """Processes that were there, and not in the lab."""
    seen: float
    """When it was looked, in seconds since the machine's start. Whatever began later may have a number that the kernel
    gave away again as soon as the lab had gone."""

    def left(self, before: float | None = None) -> list[str]:
        """Return what is still there of what began before so many seconds after the machine's start."""
        limit = self.seen if before is None else before
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) in self.others or _began(int(folder.name)) > limit:
                continue
            if _state(int(folder.name)) == "Z":
                continue  # it has ended; its parent has only not asked yet how
            for kind, number in _namespaces(int(folder.name)):
                if (kind, number) in self.namespaces:
                    found.append(f"pid {folder.name} is in {kind}:[{number}]")
            if int(folder.name) in self.pids:
                found.append(f"pid {folder.name} lives")
        return found

    def gone(self) -> bool:
        """Wait until nothing is left; tell whether that came to be."""
        until = time.monotonic() + LIMIT
        while self.left() and time.monotonic() < until:
            time.sleep(0.01)
        return not self.left()


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _began(pid: int) -> float:
    """When a process began, in seconds since the machine's start; far in the future for one that has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("inf")
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _namespaces(pid: int) -> set[tuple[str, int]]:
    found = set()
    for kind in KINDS:
        with contextlib.suppress(OSError):
            found.add((kind, (Path("/proc") / str(pid) / "ns" / kind).stat().st_ino))
    return found


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def children(pid: int) -> list[int]:
    """Return a process's children and theirs."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *children(int(child))]
    return found


def remains(launcher: int) -> Remains:
    """Return what there is of the lab of a launcher (`unshare`, or whatever started it)."""
    own = _namespaces(os.getpid())
    pids = [launcher, *children(launcher)]
    namespaces = {each for pid in pids for each in _namespaces(pid)} - own
    everybody = {int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()}
    others = {pid for pid in everybody if pid not in pids and not _namespaces(pid) & namespaces}
    return Remains(frozenset(namespaces), frozenset(pids) - {os.getpid()}, frozenset(others), _uptime())


def machine() -> dict[str, str]:
    """Return what must be the same before and after any lab: rules, links, routes, sysctls, mounts."""
    told = {}
    for name, argv in {
        "nft": ["nft", "list", "ruleset"],
        "iptables": ["iptables-save"],
        "ip6tables": ["ip6tables-save"],
        "links": ["ip", "-o", "link"],
        "routes": ["ip", "route", "show", "table", "all"],
        "routes6": ["ip", "-6", "route", "show", "table", "all"],
        "sysctls": ["sysctl", "-a"],
    }.items():
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        told[name] = done.stdout
    told["sysctls"] = "\n".join(line for line in told["sysctls"].splitlines() if not _VOLATILE.match(line))
    told["routes6"] = re.sub(r" expires \d+sec", "", told["routes6"])
    told["mounts"] = Path("/proc/self/mountinfo").read_text()
    named = Path("/run/netns")
    told["netns"] = "\n".join(sorted(path.name for path in named.iterdir())) if named.is_dir() else ""
    return told


@pytest.fixture(scope="session", autouse=True)
def possible() -> None:
    """Skip where no lab can be started, and say what is lacking."""
    lacking = can_run()
    if lacking:
        pytest.skip(f"no lab can be started here: {lacking.reason}; {lacking.mend}")


@pytest.fixture(scope="session")
def plan() -> LabPlan:
    """The cluster that comes with the lab, iptables-nft."""
    return LabPlan(manifest=(ROOT / "lessons/cluster.yaml").read_text())


@pytest.fixture(scope="module")
def lab(plan: LabPlan) -> Iterator[LiveSession]:
    """A lab that a module's tests share; they look at it, and leave it as it was."""
    session = start_lab(plan)
    yield session
    session.close()


@pytest.fixture(scope="session")
def machine_state() -> Callable[[], dict[str, str]]:
    """Return the machine's own state, as it is when called."""
    return machine


@pytest.fixture(scope="session")
def remains_of() -> Callable[[int], Remains]:
    """Return what there is of the lab of a launcher, by its pid."""
    return remains


@pytest.fixture(scope="session")
def descendants() -> Callable[[int], list[int]]:
    """Return a process's children and theirs, by pids."""
    return children


Starter = Callable[[], LiveSession]


@pytest.fixture
def start(plan: LabPlan) -> Iterator[Starter]:
    """Start labs of a test's own; all are closed in the end."""
    sessions: list[LiveSession] = []

    def begin() -> LiveSession:
        sessions.append(start_lab(plan))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.close()


@pytest.fixture
def look() -> Callable[[LiveSession], Remains]:
    """Return what there is of a session's lab on this machine."""

    def at(session: LiveSession) -> Remains:
        assert session.agent_process is not None
        return remains(session.agent_process)

    return at
