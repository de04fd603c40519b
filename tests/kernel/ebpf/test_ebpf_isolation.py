"""What eBPF mode leaves alone, and what it leaves behind: everybody else's sockets, and nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kplab.session.live import LiveSession
from tests.kernel.ebpf.conftest import start_ebpf_lab

pytestmark = pytest.mark.kernel

# The address that the kernel holds, from /proc/net/udp, where no program can change it; and what getpeername() says.
LOOK = """
import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("10.96.0.10", 53))
port = "%04X" % s.getsockname()[1]
line = [l.split() for l in open("/proc/net/udp") if l.split()[1].endswith(":" + port)][0]
address, number = line[2].split(":")
print(socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(number, 16), "%s %d" % s.getpeername())
print([l for l in open("/proc/self/cgroup").read().split() if l.startswith("0:")][0])
"""
PROGRAMS = ("kplab_connect4", "kplab_sendmsg4", "kplab_recvmsg4", "kplab_peername4")


def wait_for(condition: Callable[[], bool], limit: float = 10.0) -> bool:
    """Wait until a condition holds; tell whether it did within the limit."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def program_ids(lab: LiveSession) -> set[int]:
    """Return the ids of a lab's own BPF programs."""
    found = set()
    for node in ("node-a", "node-b"):
        for name in PROGRAMS:
            path = f"/run/kplab/bpf/{node}/programs/{name}"
            found.add(
                int(json.loads(lab.execute(node, ("bpftool", "-j", "prog", "show", "pinned", path)).stdout)["id"])
            )
    return found


def loaded() -> set[int]:
    """Return the ids of all BPF programs of this machine."""
    done = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, text=True, check=True)
    return {int(each["id"]) for each in json.loads(done.stdout)}


def cgroups() -> set[str]:
    """Return every cgroup of this machine's v2 tree."""
    roots = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"]
    return {folder for root in roots for folder, _, _ in os.walk(root)}


def test_a_lab_process_is_translated_and_another_of_the_same_cgroup_is_not(lab: LiveSession) -> None:
    """Both run the same program in the same cgroup; only the lab's network namespaces are known to the programs."""
    inside = lab.execute("client", ("python3", "-c", LOOK)).stdout.splitlines()
    assert inside[0] == "10.244.1.20 53 10.96.0.10 53"
    script = f'ip link set lo up && ip route add default dev lo && exec {sys.executable} -c "$1"'
    argv = ["unshare", "--net", "sh", "-c", script, "sh", LOOK]
    outside = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert outside[0] == "10.96.0.10 53 10.96.0.10 53"
    assert outside[1] == inside[1]


@pytest.mark.parametrize("way", ["closed", "killed"])
def test_nothing_is_left_of_a_lab(way: str) -> None:
    """After its end, and after SIGKILL, its programs are unloaded; no mount and no cgroup was ever made outside."""
    before = cgroups()
    lab = start_ebpf_lab()
    try:
        mine = program_ids(lab)
        assert len(mine) == 8
        assert mine <= loaded()
        assert not [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "/run/kplab" in line]
        if way == "killed":
            assert lab.agent_process is not None
            os.kill(lab.agent_process, signal.SIGKILL)
    finally:
        lab.close()
    assert wait_for(lambda: not mine & loaded())
    assert cgroups() - before == set()


def test_a_lab_beside_another_has_programs_and_maps_of_its_own(lab: LiveSession) -> None:
    """Two labs are attached to one cgroup; each translates only its own sockets."""
    other = start_ebpf_lab()
    try:
        assert not program_ids(lab) & program_ids(other)
        other.apply(other.status().manifest.replace("10.96.0.10", "10.96.0.99"))
        assert other.execute("client", ("python3", "-c", LOOK)).stdout.splitlines()[0] == "10.96.0.10 53 10.96.0.10 53"
        assert lab.execute("client", ("python3", "-c", LOOK)).stdout.splitlines()[0] == "10.244.1.20 53 10.96.0.10 53"
    finally:
        other.close()
