"""How long a lab takes to come up and to go, beside Mininet, and how large its agent is."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.figure import Figure
from kplab.session.base import LabPlan, Step
from kplab.session.live import start_lab

MANIFEST = Path(__file__).parents[1] / "lessons/cluster.yaml"
ROUNDS = 5
PRIVATE = ("unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--mount-proc")

OURS = """
import sys, time
from kplab.lab.build import make_links, make_namespaces
from kplab.lab.netns import NetworkNamespaces, mount_run
from kplab.lab.plan import plan_lab
from kplab.model.loader import load_cluster
from pathlib import Path
topology = plan_lab(load_cluster(Path(sys.argv[1])))
mount_run()
namespaces = NetworkNamespaces()
begun = time.perf_counter()
make_namespaces(topology, namespaces)
make_links(topology, namespaces)
print(len(topology.namespaces) - 1, time.perf_counter() - begun)
"""

MININETS = """
import os, sys, time
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo
begun = time.perf_counter()
Mininet(topo=SingleSwitchTopo(k=int(sys.argv[1])), controller=None, switch=LinuxBridge).start()
print(sys.argv[1], time.perf_counter() - begun, flush=True)
os._exit(0)
"""


def measure() -> Iterator[Figure]:
    """Yield the lab's figures; Mininet's stand beside them where it is installed."""
    yield from _beside_mininet()
    ups, downs, memory, steps = [], [], 0, list[Step]()
    plan = LabPlan(manifest=MANIFEST.read_text())
    for _ in range(ROUNDS):
        steps.clear()
        begun = time.perf_counter()
        lab = start_lab(plan, steps.append)
        ups.append(time.perf_counter() - begun)
        status = lab.execute("node-a", ("cat", "/proc/1/status")).stdout
        memory = max(memory, int(re.search(r"VmHWM:\s+(\d+)", status).group(1)))  # type: ignore[union-attr]
        begun = time.perf_counter()
        lab.close()
        downs.append(time.perf_counter() - begun)
    ended = "; ".join(f"{step.name} {step.seconds:.2f}" for step in steps if step.done)
    yield Figure("lab up, kube-proxy's rules synced", median(ups), "s", 1.0, f"ended at: {ended}")
    yield Figure("lab down", median(downs), "s", 0.2)
    yield Figure("agent, peak resident memory", memory / 1024, "MB", 80)


def _beside_mininet() -> Iterator[Figure]:
    pairs = []
    for _ in range(ROUNDS):
        hosts, ours = _timed(sys.executable, OURS, str(MANIFEST))
        try:
            pairs.append((ours, _timed("/usr/bin/python3", MININETS, str(hosts))[1]))
        except (subprocess.CalledProcessError, FileNotFoundError):
            yield Figure(f"{hosts} namespaces with links, addresses, routes", ours, "s", note="no Mininet here")
            return
    yield Figure(f"{hosts} namespaces with links, addresses, routes", median(ours for ours, _ in pairs), "s")
    yield Figure(f"Mininet, {hosts} hosts on a bridge", median(theirs for _, theirs in pairs), "s")
    yield Figure("ours / Mininet's", median(ours / theirs for ours, theirs in pairs), "x", 3.0)


def _timed(python: str, code: str, argument: str) -> tuple[int, float]:
    done = subprocess.run([*PRIVATE, python, "-c", code, argument], check=True, capture_output=True, text=True)
    count, seconds = done.stdout.split()
    return int(count), float(seconds)
