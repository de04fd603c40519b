"""Measures one back-end in this process's network namespace; `bench_apply` starts it in one of its own.

Prints a line of JSON: seconds by name. Run as `unshare -nm python -m benchmarks.apply_in_namespace nft`.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

from benchmarks.figure import seconds
from kplab.lab.run import SystemRunner
from kplab.model.cluster import Cluster
from kplab.model.proxy_config import ProxyConfig
from kplab.model.synthetic import large_cluster
from kplab.modes.facts import NodeFacts
from kplab.proxy.apply import DirectApplier, Order
from kplab.proxy.guard import refuse_host_namespace
from kplab.proxy.iptables_writer import IptablesWriter
from kplab.proxy.nfacct import ensure_counters
from kplab.proxy.proxier import Proxier, SyncOutcome
from kplab.proxy.schedule import Schedule
from kplab.proxy.tools import Backend, Tools

CLONE_NEWNET = 0x40000000
FACTS = NodeFacts(addresses=("192.168.50.10", "127.0.0.1"))


def fresh() -> None:
    """Leave for a new network namespace."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    refuse_host_namespace()
    ensure_counters()


def proxier(backend: Backend) -> Proxier:
    """Return a proxier whose schedule is not used."""
    tools = Tools(SystemRunner(), backend, 4)
    config = ProxyConfig(cluster_cidrs=("10.244.0.0/16",))
    writer = IptablesWriter(4, "node-a", config, DirectApplier(tools), lambda: FACTS)
    return Proxier(4, "node-a", Schedule(1.0, 30.0), writer)


def one_endpoint_less(cluster: Cluster) -> Cluster:
    """Return the cluster with one endpoint of one Service not ready."""
    first, *others = cluster.endpoint_slices
    gone = replace(first.endpoints[0], ready=False)
    return replace(cluster, endpoint_slices=(replace(first, endpoints=(gone, *first.endpoints[1:])), *others))


def synced(run: Callable[[], SyncOutcome]) -> tuple[float, str]:
    """Return the seconds of a sync, and the text that it wrote."""
    begun = time.perf_counter()
    outcome = run()
    taken = time.perf_counter() - begun
    if outcome.error is not None or not isinstance(outcome.order, Order):
        raise RuntimeError(str(outcome.error))
    return taken, outcome.order.program.text(changed=outcome.order.changed)


def restore(backend: str, text: str, *arguments: str) -> None:
    """Run iptables-restore, and nothing else."""
    subprocess.run([f"iptables-{backend}-restore", *arguments], input=text.encode(), check=True)


def main(backend: Backend) -> None:
    """Measure the first sync, one endpoint's change, and a bare restore of the same lines beside each."""
    cluster = large_cluster(4000, 6)
    gc.disable()  # as kplab-proxy does
    firsts, bare_firsts = [], []
    for _ in range(3):
        fresh()
        subject = proxier(backend)
        subject.observe(cluster, 0.0)
        first, text = synced(lambda: subject.sync(time.monotonic))  # noqa: B023
        firsts.append(first)
        fresh()
        bare_firsts.append(seconds(lambda: restore(backend, text), rounds=1))  # noqa: B023
    fresh()
    subject = proxier(backend)
    subject.observe(cluster, 0.0)
    subject.sync(time.monotonic)
    changes, bare_changes = [], []
    for _ in range(3):
        for state in (one_endpoint_less(cluster), cluster):
            subject.observe(state, time.monotonic())
            taken, lines = synced(lambda: subject.sync(time.monotonic))
            changes.append(taken)
            bare_changes.append(seconds(lambda: restore(backend, lines, "--noflush", "--counters"), rounds=1))  # noqa: B023
    told = {
        "first": median(firsts),
        "bare first": median(bare_firsts),
        "change": median(changes),
        "bare change": median(bare_changes),
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main("legacy" if sys.argv[1:] == ["legacy"] else "nft")
