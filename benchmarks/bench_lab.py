"""How quickly a lab stands and goes, beside Mininet's time for as many hosts, and what the agent weighs."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure
from kplab.course.load import lessons_folder
from kplab.model.expression import parse_expression
from kplab.session.base import LabPlan, Step
from kplab.session.live import LiveSession, start_lab
from kplab.trace.journey import tell

ROUNDS = 5
NETWORK_STEPS = ("namespaces", "links, addresses, routes")
MININET = """
from mininet.net import Mininet
from mininet.topo import SingleSwitchTopo
from mininet.nodelib import LinuxBridge
import time
begun = time.perf_counter()
net = Mininet(topo=SingleSwitchTopo({hosts}), switch=LinuxBridge, controller=None)
net.start()
print("UP", time.perf_counter() - begun)
net.stop()
"""


def measure() -> Iterator[Figure]:
    """Yield up and down times (medians), the ratio to Mininet, the agent's memory, and event to journey."""
    manifest = (lessons_folder() / "cluster.yaml").read_text()
    ups, downs, networks, told = [], [], [], []
    weight, hosts = 0.0, 0
    for _ in range(ROUNDS):
        steps: list[Step] = []
        begun = time.perf_counter()
        session = start_lab(LabPlan(manifest=manifest), steps.append)
        ups.append(time.perf_counter() - begun)
        networks.append(_network_seconds(steps))
        hosts = len(session.topology.namespaces)
        recording = session.send(parse_expression('IP(dst="10.96.0.42")/TCP(dport=80, flags="S")'), "client")
        begun = time.perf_counter()
        tell(recording)
        told.append(time.perf_counter() - begun)
        weight = max(weight, _agent_megabytes(session))
        begun = time.perf_counter()
        session.close()
        downs.append(time.perf_counter() - begun)
    yield Figure("lab up, rules synced", statistics.median(ups), "s", 1.0, f"{hosts} namespaces")
    yield Figure("lab down", statistics.median(downs), "s", 0.2)
    yield Figure("agent's memory (RSS)", weight, "MB", 80)
    yield Figure("events to journey, a SYN to a ClusterIP, slowest", max(told) * 1000, "ms", 50)
    network = statistics.median(networks)
    yield Figure("namespaces and links alone", network, "s")
    theirs = _mininet_seconds(hosts)
    if theirs is None:
        yield Figure("Mininet", 0, "s", note="cannot run: apt-get install mininet bridge-utils")
        return
    yield Figure(f"Mininet, {hosts} hosts and a bridge", theirs, "s")
    yield Figure("namespaces and links, times Mininet's", network / theirs, "x", 3.0)


def _network_seconds(steps: list[Step]) -> float:
    """Seconds from the first network step's beginning to the last one's end."""
    stamps = [step.seconds for step in steps if step.name in NETWORK_STEPS]
    return max(stamps) - min(stamps)


def _agent_megabytes(session: LiveSession) -> float:
    """Read the agent's resident memory from its own /proc; it is process 1 of the lab."""
    status = session.execute("client", ("cat", "/proc/1/status")).stdout
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found.group(1)) / 1024 if found else float("nan")


def _mininet_seconds(hosts: int) -> float | None:
    """Run Mininet in a network and mount namespace of its own, so that what it leaves behind goes with it."""
    if shutil.which("mn") is None or not Path("/usr/bin/python3").exists():
        return None
    argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "/usr/bin/python3", "-c"]
    taken = []
    for _ in range(3):
        done = subprocess.run([*argv, MININET.format(hosts=hosts)], capture_output=True, text=True, check=False)
        found = re.search(r"UP ([0-9.]+)", done.stdout)
        if found:
            taken.append(float(found.group(1)))
    return statistics.median(taken) if taken else None
