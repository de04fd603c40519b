"""Whatever ends a lab, nothing of it is left, and the machine is what it was."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kplab.errors import GuardError, KplabError, ProtocolError
from kplab.protocol.frames import encode, user_side
from kplab.protocol.messages import Failed, Hello
from kplab.session.base import LabPlan
from kplab.session.live import LiveSession, start_lab
from kplab.session.sandbox.namespaces import boot_id, own_namespaces

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).resolve().parents[3]
Look = Callable[[LiveSession], Any]
Start = Callable[[], LiveSession]

LAUNCHER = """
import sys, time
from kplab.session.base import LabPlan
from kplab.session.live import start_lab
session = start_lab(LabPlan(manifest=open(sys.argv[1]).read()))
print("up", session.agent_process, flush=True)
time.sleep(1000)
"""


def test_the_machine_is_what_it_was(start: Start, machine_state: Callable[[], dict[str, str]]) -> None:
    """Rules, links, routes, sysctls, mounts and named namespaces are byte for byte the same, during a lab and after."""
    before = machine_state()
    lab = start()
    lab.execute("node-a", ("sysctl", "-w", "net.ipv4.ip_forward=1"))
    during = machine_state()
    lab.close()
    after = machine_state()

    assert during == before
    assert after == before


def test_closing_is_quick_and_leaves_nothing(start: Start, look: Look) -> None:
    """A lab goes down in a fifth of a second, all processes and namespaces with it."""
    lab = start()
    remains = look(lab)
    assert len(remains.pids) > 10
    assert {kind for kind, _ in remains.namespaces} >= {"net", "mnt", "pid"}

    began = time.monotonic()
    lab.close()
    took = time.monotonic() - began

    assert remains.gone(), remains.left()
    assert took <= 0.4, "twice the promised time, for a machine that has other work"


def test_down_ends_the_lab(start: Start, look: Look) -> None:
    """`end` asks the agent to go, and returns when it has."""
    lab = start()
    remains = look(lab)
    lab.end()

    assert remains.gone(), remains.left()
    with pytest.raises(ProtocolError):
        lab.status()


@pytest.mark.parametrize("victim", ["agent", "unshare"])
def test_a_killed_agent_takes_everything_with_it(
    start: Start, look: Look, descendants: Callable[[int], list[int]], victim: str
) -> None:
    """SIGKILL to the agent, or to `unshare` around it: the session says so, and nothing is left."""
    lab = start()
    remains = look(lab)
    launcher = lab.agent_process
    assert launcher is not None
    os.kill(launcher if victim == "unshare" else descendants(launcher)[0], signal.SIGKILL)

    with pytest.raises(ProtocolError, match="agent has gone"):
        lab.execute("client", ("sleep", "30"))
    assert remains.gone(), remains.left()


def test_sigterm_ends_the_agent(start: Start, look: Look, descendants: Callable[[int], list[int]]) -> None:
    """SIGTERM from outside is heard, although the agent is pid 1 of its namespace."""
    lab = start()
    remains = look(lab)
    assert lab.agent_process is not None
    os.kill(descendants(lab.agent_process)[0], signal.SIGTERM)

    assert remains.gone(), remains.left()


def test_an_agent_that_dies_frees_whoever_waits(
    start: Start, look: Look, descendants: Callable[[int], list[int]]
) -> None:
    """A call that is under way when the agent dies ends with an error; it does not hang."""
    lab = start()
    caught: list[KplabError] = []

    def wait() -> None:
        try:
            lab.execute("client", ("sleep", "30"))
        except KplabError as error:
            caught.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert lab.agent_process is not None
    os.kill(descendants(lab.agent_process)[0], signal.SIGKILL)
    waiting.join(5)

    assert not waiting.is_alive()
    assert isinstance(caught[0], ProtocolError)


def test_a_killed_launcher_takes_its_lab_with_it(remains_of: Callable[[int], Any]) -> None:
    """SIGKILL to the user's process: the channel closes, and the lab ends by itself."""
    argv = [sys.executable, "-c", LAUNCHER, str(ROOT / "lessons/cluster.yaml")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        word, _, pid = launcher.stdout.readline().partition(" ")
        assert word == "up"
        remains = remains_of(int(pid))
        launcher.kill()

    assert remains.gone(), remains.left()


def test_a_launcher_killed_while_the_lab_is_built_leaves_nothing(remains_of: Callable[[int], Any]) -> None:
    """The same in the middle of building."""
    argv = [sys.executable, "-c", LAUNCHER, str(ROOT / "lessons/cluster.yaml")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as launcher:
        until = time.monotonic() + 10
        while len(remains_of(launcher.pid).pids) < 6 and time.monotonic() < until:
            time.sleep(0.002)
        remains = remains_of(launcher.pid)
        launcher.kill()

    assert len(remains.pids) >= 6
    assert remains.gone(), remains.left()


def test_a_lab_that_cannot_be_built_leaves_nothing(plan: LabPlan, machine_state: Callable[[], dict[str, str]]) -> None:
    """An error in the middle of building ends the lab."""
    before = set(os.listdir("/proc"))  # noqa: PTH208
    with pytest.raises(KplabError):
        start_lab(LabPlan(manifest=plan.manifest, config="kind: Nonsense"))

    until = time.monotonic() + 5
    while time.monotonic() < until and any(_is_ours(pid) for pid in set(os.listdir("/proc")) - before):  # noqa: PTH208
        time.sleep(0.01)
    assert not any(_is_ours(pid) for pid in set(os.listdir("/proc")) - before)  # noqa: PTH208


def _is_ours(pid: str) -> bool:
    """Whether a process is a child of this test: an agent's `unshare`."""
    if not pid.isdigit():
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid())
    except OSError:
        return False


def test_two_labs_at_once_do_not_meet(start: Start, look: Look) -> None:
    """Two labs have the same names and addresses, and nothing in common; one's end does not touch the other."""
    one, two = start(), start()
    assert not look(one).namespaces & look(two).namespaces - {("user", 0)}
    one.execute("node-a", ("iptables-nft", "-A", "INPUT", "-s", "192.0.2.55", "-j", "DROP"))
    one.execute("web-1", ("ip", "link", "set", "eth0", "down"))

    assert "192.0.2.55" not in "".join(save.text for save in two.read_node("node-a").saves)
    assert two.execute("client", ("curl", "-sS", "--max-time", "2", "http://10.244.1.10:8080/")).status == 0
    one.close()
    assert two.execute("client", ("curl", "-sS", "--max-time", "2", "http://10.96.0.42/")).status == 0


def _agent_with(argv: list[str], hello: Hello) -> tuple[Failed | None, str]:
    """Start an agent as `argv` says, greet it, and return its answer, if it is a refusal, and its last words."""
    ours, theirs = socket.socketpair()
    with (
        ours,
        subprocess.Popen(
            [*argv, sys.executable, "-P", "-m", "kplab.agent.main", "--fd", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        theirs.close()
        ours.settimeout(20)
        decoder = user_side()
        answers: list[object] = []
        with contextlib.suppress(ConnectionError):
            ours.sendall(encode(hello))
            while not answers and (data := ours.recv(65536)):
                answers += decoder.feed(data)
        _, said = process.communicate(timeout=20)
    answer = answers[0] if answers else None
    return (answer if isinstance(answer, Failed) else None), said


def _hello(**fields: Any) -> Hello:
    own = own_namespaces()
    return Hello(**{"boot_id": boot_id(), "host_netns": own["net"], "host_mntns": own["mnt"], **fields})


def test_the_agent_refuses_to_run_beside_its_launcher(machine_state: Callable[[], dict[str, str]]) -> None:
    """Started without namespaces of its own, the agent does nothing at all."""
    before = machine_state()
    answer, said = _agent_with([], _hello())

    assert answer is None
    assert "not the first process" in said
    assert machine_state() == before


@pytest.mark.parametrize("kept", ["--net", "--mount"])
def test_the_agent_refuses_its_launchers_namespaces(kept: str, machine_state: Callable[[], dict[str, str]]) -> None:
    """With a process namespace of its own, but the launcher's network or mounts, it refuses and ends."""
    if os.geteuid() != 0:
        pytest.skip("needs root: unshare without a user namespace")
    before = machine_state()
    private = [flag for flag in ("--net", "--mount") if flag != kept]
    answer, _ = _agent_with(["unshare", *private, "--pid", "--fork", "--kill-child"], _hello())

    assert answer is not None
    assert answer.error == GuardError.__name__
    assert machine_state() == before
