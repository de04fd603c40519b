"""Measures IPVS mode's syncs in this process's network namespace; `bench_ipvs` runs it in a guest.

Prints a line of JSON: seconds by name. Run as `unshare -nm python -m benchmarks.apply_ipvs_in_guest SERVICES PODS`,
where PODS are those of each Service.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from benchmarks.apply_in_namespace import fresh, one_endpoint_less
from kplab.lab.run import Finished, SystemRunner
from kplab.model.cluster import Cluster
from kplab.model.proxy_config import ProxyConfig
from kplab.model.synthetic import large_cluster
from kplab.modes.facts import NodeFacts
from kplab.proxy.apply import DirectApplier
from kplab.proxy.ipvs_tables import IpvsTables
from kplab.proxy.ipvs_writer import IpvsWriter
from kplab.proxy.tools import Tools

WRITERS = {("ip", "-batch"), ("ipvsadm", "-R"), ("ipset", "restore"), ("iptables-nft-restore",)}
"""How the programs begin that change the kernel; all others read it."""


class Recorder(SystemRunner):
    """Runs programs; keeps what was written by which, and how long each took."""

    def __init__(self) -> None:
        self.writes: list[tuple[list[str], str]] = []
        self.taken: dict[str, float] = {}

    def run(
        self, argv: Sequence[str], stdin: str | bytes = "", *, env: Mapping[str, str] | None = None,
        check: bool = True, limit: float = 30.0,
    ) -> Finished:  # fmt: skip
        """Run as `SystemRunner` does."""
        text = stdin if isinstance(stdin, str) else stdin.decode()
        if any(tuple(argv[: len(each)]) == each for each in WRITERS) and text:
            self.writes.append((list(argv), text))
        begun = time.perf_counter()
        try:
            return super().run(argv, stdin, env=env, check=check, limit=limit)
        finally:
            name = " ".join(argv[:2])
            self.taken[name] = self.taken.get(name, 0.0) + time.perf_counter() - begun


def writer_of(runner: Recorder) -> IpvsWriter:
    """Return a writer that runs its programs by a recorder."""
    applier = DirectApplier(Tools(runner, "nft", 4), canaries=False)
    config = ProxyConfig(cluster_cidrs=("10.244.0.0/16",))
    return IpvsWriter(4, "node-a", config, IpvsTables(runner), applier, NodeFacts())


def synced(writer: IpvsWriter, cluster: Cluster) -> float:
    """Return the seconds of a sync."""
    begun = time.perf_counter()
    writer.write(cluster, None, 0.0)
    return time.perf_counter() - begun


def rewritten(writes: Sequence[tuple[list[str], str]]) -> float:
    """Return the seconds of the bare programs with the same input."""
    begun = time.perf_counter()
    for argv, text in writes:
        subprocess.run(argv, input=text.encode(), check=True, capture_output=True)
    return time.perf_counter() - begun


def main(services: int, endpoints: int) -> None:
    """Measure the first sync, one endpoint's change, and the bare programs that write the same beside each."""
    cluster = large_cluster(services, endpoints)
    fewer = one_endpoint_less(cluster)
    gc.disable()  # as kplab-proxy does
    fresh()
    writer_of(Recorder()).write(
        large_cluster(1, 1), None, 0.0
    )  # loads the kernel's modules, which neither is to pay for
    fresh()
    runner = Recorder()
    writer = writer_of(runner)
    first = synced(writer, cluster)
    programs, writes = dict(runner.taken), list(runner.writes)
    runner.writes.clear()
    change = synced(writer, fewer)
    changes = list(runner.writes)
    fresh()
    bare_first = rewritten(writes)
    told = {"first": first, "bare first": bare_first, "change": change, "bare change": rewritten(changes)}
    sys.stdout.write(json.dumps({"seconds": told, "programs": programs}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
