"""Labs that are kept between commands."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kplab.errors import ManifestError, ProtocolError, UnknownNameError, UsageError
from kplab.session.base import LabPlan
from kplab.session.labs import connect_lab, list_labs, start_kept_lab, stop_lab

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).resolve().parents[3]
NAME = f"test-{os.getpid()}"

STARTER = """
import sys
from kplab.session.base import LabPlan
from kplab.session.labs import start_kept_lab
start_kept_lab(sys.argv[1], LabPlan(manifest=open(sys.argv[2]).read())).close()
"""

BEGINNER = """
import signal, sys
from kplab.session.base import LabPlan
from kplab.session.labs import start_kept_lab

def report(step):
    if step.name == sys.argv[3] and not step.done:
        print("now", flush=True)
        signal.pause()

start_kept_lab(sys.argv[1], LabPlan(manifest=open(sys.argv[2]).read()), report)
"""


@pytest.fixture
def name(plan: LabPlan) -> Iterator[str]:
    """The name of a kept lab that is up; it is ended afterwards, if the test has not."""
    start_kept_lab(NAME, plan).close()
    yield NAME
    if any(lab.name == NAME for lab in list_labs()):
        stop_lab(NAME)


def test_a_kept_lab_outlives_its_sessions(name: str) -> None:
    """Closing a session leaves the lab; what was done in it is there for the next one."""
    first = connect_lab(name)
    first.execute("node-a", ("iptables-nft", "-A", "INPUT", "-s", "192.0.2.66", "-j", "DROP"))
    first.close()
    second = connect_lab(name)
    text = "".join(save.text for save in second.read_node("node-a").saves)
    second.close()

    assert "192.0.2.66" in text
    assert name in {lab.name for lab in list_labs()}


def test_a_kept_lab_outlives_the_process_that_built_it() -> None:
    """Another process builds it and ends; it is up all the same."""
    name = f"{NAME}-b"
    subprocess.run([sys.executable, "-c", STARTER, name, str(ROOT / "lessons/cluster.yaml")], check=True)
    try:
        lab = connect_lab(name)
        assert lab.execute("client", ("curl", "-sS", "--max-time", "3", "http://10.96.0.42/")).status == 0
        lab.close()
    finally:
        stop_lab(name)


@pytest.mark.parametrize("step", ["cluster", "links, addresses, routes", "kube-proxy's rules"])
def test_a_kept_lab_whose_builder_is_killed_ends(step: str) -> None:
    """SIGKILL to the launcher while the lab is built, early or late: it ends too, and frees its name."""
    name = f"{NAME}-k"
    argv = [sys.executable, "-c", BEGINNER, name, str(ROOT / "lessons/cluster.yaml"), step]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "now\n"
        builder.kill()
    until = time.monotonic() + 20
    while name in {lab.name for lab in list_labs()} and time.monotonic() < until:
        time.sleep(0.02)

    assert name not in {lab.name for lab in list_labs()}


def test_two_sessions_of_one_lab_work_side_by_side(name: str) -> None:
    """Each gets its own answers and its own shells; one's end does not disturb the other."""
    one, two = connect_lab(name), connect_lab(name)
    shell = one.shell("node-a", 80, 24)
    assert two.execute("client", ("echo", "two")).stdout == "two\n"
    two.close()
    shell.write(b"echo still-$((1+1))-here\n")
    printed = b""
    until = time.monotonic() + 5
    while b"still-2-here" not in printed and time.monotonic() < until:
        printed += shell.read(1.0)
    one.close()

    assert b"still-2-here" in printed


def test_stopping_leaves_nothing(name: str, remains_of: Callable[[int], object]) -> None:
    """After `stop_lab` the name is free at once, and its sessions are told."""
    session = connect_lab(name)
    began = time.monotonic()
    stop_lab(name)
    took = time.monotonic() - began

    assert name not in {lab.name for lab in list_labs()}
    assert took <= 0.4, "twice the promised time, for a machine that has other work"
    with pytest.raises(ProtocolError):
        session.status()
    with pytest.raises(UnknownNameError):
        stop_lab(name)
    session.close()


def test_one_name_is_one_lab(name: str, plan: LabPlan) -> None:
    """A second lab of that name is refused, and the first is not harmed."""
    with pytest.raises(UsageError, match="already"):
        start_kept_lab(name, plan)

    session = connect_lab(name)
    assert session.execute("client", ("true",)).status == 0
    session.close()


def test_a_kept_lab_that_cannot_be_built_is_not_kept() -> None:
    """An error in building ends it; the name is free again."""
    with pytest.raises(ManifestError):
        start_kept_lab(f"{NAME}-c", LabPlan(manifest="kind: Service"))

    assert f"{NAME}-c" not in {lab.name for lab in list_labs()}


def test_other_users_are_turned_away(name: str) -> None:
    """Whoever connects as another user is hung up on at once."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to become another user")
    intruder = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1].replace('@', chr(0), 1));"
        "s.settimeout(5); sys.exit(0 if s.recv(1) == b'' else 1)"
    )
    argv = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/python3", "-c", intruder]
    done = subprocess.run([*argv, f"@kplab-{os.getuid()}-{name}"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_a_peer_that_talks_nonsense_is_hung_up_on(name: str) -> None:
    """Garbage ends its own connection; the lab serves on."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"\0kplab-{os.getuid()}-{name}")
        sock.settimeout(5)
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while sock.recv(65536):
            pass

    session = connect_lab(name)
    assert session.execute("client", ("true",)).status == 0
    session.close()
