"""Whatever ends a guest, and whenever: no process of it is left, and no file but what the cache holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kplab.errors import ProtocolError, SandboxError
from kplab.model.synthetic import large_manifest
from kplab.protocol.messages import LabStatus, Status
from kplab.session.base import LabPlan
from kplab.session.guests import greeted_guest
from kplab.session.labs import connect_lab, list_labs, start_kept_lab, stop_lab
from kplab.session.live import ask, greet
from kplab.session.sandbox.guest_cache import PARTIAL

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

LIMIT = 5.0
NAME = f"vm-{os.getpid()}"
LAUNCHER = """
import sys, time
from kplab.session.sandbox.microvm import agent_program, find_machine, start_guest, wait_booted
machine = find_machine()
listener = None
if sys.argv[1] == "kept":
    import socket
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")
    listener.listen()
guest = start_guest(machine, agent_program(machine.accelerator, gate=False), listener)
if sys.argv[1] == "booted":
    wait_booted(guest)
print(guest.process.pid, flush=True)
time.sleep(1000)
"""


def qemu_of(keeper: int) -> int:
    """Return the pid of the QEMU that a keeper has started; wait for it."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        for child in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split():
            if b"qemu-system" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0]:
                return int(child)
        time.sleep(0.01)
    raise AssertionError(f"the keeper {keeper} has no QEMU")


def gone(*pids: int) -> bool:
    """Wait until processes have ended; tell whether they have."""
    until = time.monotonic() + LIMIT
    while any(_alive(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.01)
    return not any(_alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files that must stay empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("victim", "when"),
    [("launcher", "at once"), ("keeper", "at once"), ("qemu", "at once"), ("launcher", "booted"), ("launcher", "kept")],
)
def test_any_of_its_processes_is_killed(shared_cache: Path, empty: Path, victim: str, when: str) -> None:
    """SIGKILL to kplab, to the keeper or to QEMU, while the guest boots or later: the others end as well."""
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, when], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    with launcher, launcher.stdout:
        keeper = int(launcher.stdout.readline())
        qemu = qemu_of(keeper)
        os.kill({"launcher": launcher.pid, "keeper": keeper, "qemu": qemu}[victim], signal.SIGKILL)
        ended = gone(keeper, qemu)
        launcher.kill()

    assert ended
    assert not [path for path in (shared_cache / "kplab/guest").iterdir() if PARTIAL in path.name]


def test_whoever_waits_is_told(shared_cache: Path, empty: Path) -> None:
    """A guest that is killed under a session: the next question says that it has gone, and how to go on."""
    try:
        agent, channel, _ = greeted_guest(greet, None, "asked for")
    except SandboxError as error:
        pytest.skip(str(error))
    keeper, qemu = agent.process.pid, qemu_of(agent.process.pid)
    assert ask(channel, Status(), LabStatus, 60.0).topology is None

    os.kill(qemu, signal.SIGKILL)
    channel.wait_gone(LIMIT)
    with pytest.raises(ProtocolError, match="agent has gone"):
        ask(channel, Status(), LabStatus, 60.0)
    channel.close()
    agent.wait(LIMIT)
    assert gone(keeper, qemu)


def test_a_guest_that_hangs_later_is_given_up(shared_cache: Path, empty: Path) -> None:
    """QEMU stopped under a session: the question says so at its limit, and closing the session ends what is stopped."""
    try:
        agent, channel, _ = greeted_guest(greet, None, "asked for")
    except SandboxError as error:
        pytest.skip(str(error))
    keeper, qemu = agent.process.pid, qemu_of(agent.process.pid)

    os.kill(qemu, signal.SIGSTOP)
    with pytest.raises(ProtocolError, match=r"(?s)has not answered within 0\.5 s.*end the lab"):
        ask(channel, Status(), LabStatus, 0.5)
    channel.close()
    agent.wait(LIMIT)
    assert gone(keeper, qemu)


def test_a_kept_guest_outlives_its_session_and_ends_when_told(shared_cache: Path, empty: Path) -> None:
    """A kept lab in a guest serves several sessions at once; its end leaves neither process nor name."""
    plan = LabPlan(manifest=large_manifest(1, 1), sandbox="microvm")
    start_kept_lab(NAME, plan).close()
    try:
        first, second = connect_lab(NAME), connect_lab(NAME)
        assert first.execute("outside", ("hostname",)).stdout == "guest\n"
        first.close()
        assert second.execute("node-a", ("hostname",)).stdout == "guest\n"
        second.close()
    finally:
        stop_lab(NAME)
    assert NAME not in [lab.name for lab in list_labs()]
