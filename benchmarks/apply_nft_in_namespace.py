"""Measures nftables mode in this process's network namespace; `bench_apply` starts it in one of its own.

Prints a line of JSON: seconds by name, and the peak of memory. Run as
`unshare -nm python -m benchmarks.apply_nft_in_namespace`.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from benchmarks.apply_in_namespace import FACTS, fresh, one_endpoint_less
from benchmarks.figure import seconds
from kplab.lab.run import Finished, SystemRunner
from kplab.model.proxy_config import ProxyConfig
from kplab.model.synthetic import large_cluster
from kplab.proxy.nft_tools import NftTools
from kplab.proxy.nft_writer import NftWriter
from kplab.proxy.pieces import send_capacity
from kplab.proxy.proxier import Proxier, SyncOutcome
from kplab.proxy.schedule import Schedule

WRITE = ["nft", "-f", "-"]


class Keeper(SystemRunner):
    """Runs programs, and keeps the transactions."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def run(
        self, argv: Sequence[str], stdin: str | bytes = "", *, env: Mapping[str, str] | None = None,
        check: bool = True, limit: float = 30.0,
    ) -> Finished:  # fmt: skip
        """Run as `SystemRunner` does."""
        if list(argv) == WRITE and isinstance(stdin, str):
            self.texts.append(stdin)
        return super().run(argv, stdin, env=env, check=check, limit=limit)


def proxier(runner: SystemRunner) -> Proxier:
    """Return a proxier whose schedule is not used."""
    config = ProxyConfig(mode="nftables", cluster_cidrs=("10.244.0.0/16",))
    writer = NftWriter("node-a", config, NftTools(runner, 4), lambda: FACTS, send_capacity())
    return Proxier(4, "node-a", Schedule(1.0, 30.0), writer)


def synced(run: Callable[[], SyncOutcome]) -> float:
    """Return the seconds of a sync."""
    begun = time.perf_counter()
    outcome = run()
    taken = time.perf_counter() - begun
    if outcome.error is not None:
        raise RuntimeError(str(outcome.error))
    return taken


def write(texts: Sequence[str]) -> None:
    """Run nft on texts, and nothing else."""
    for text in texts:
        subprocess.run(WRITE, input=text.encode(), check=True)


def main() -> None:
    """Measure the first sync, one endpoint's change, and a bare `nft -f` of the same lines beside each."""
    cluster = large_cluster(4000, 6)
    gc.disable()  # as kplab-proxy does
    firsts, bare_firsts = [], []
    for _ in range(3):
        fresh()
        runner = Keeper()
        subject = proxier(runner)
        subject.observe(cluster, 0.0)
        firsts.append(synced(lambda: subject.sync(time.monotonic)))  # noqa: B023
        fresh()
        bare_firsts.append(seconds(lambda: write(runner.texts), rounds=1))  # noqa: B023
    fresh()
    runner = Keeper()
    subject = proxier(runner)
    subject.observe(cluster, 0.0)
    subject.sync(time.monotonic)
    changes, bare_changes = [], []
    for _ in range(3):
        for state in (one_endpoint_less(cluster), cluster):
            subject.observe(state, time.monotonic())
            runner.texts.clear()
            changes.append(synced(lambda: subject.sync(time.monotonic)))
            # The chain is emptied first: the same lines again are the same work.
            lines = [_again(text) for text in runner.texts]
            bare_changes.append(seconds(lambda: write(lines), rounds=1))  # noqa: B023
    told = {
        "first": median(firsts),
        "bare first": median(bare_firsts),
        "change": median(changes),
        "bare change": median(bare_changes),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0,
    }
    sys.stdout.write(json.dumps(told) + "\n")


def _again(text: str) -> str:
    """Return a transaction that can be written twice: what it deletes is there for it."""
    gone = [line.replace("delete element", "add element", 1) for line in text.splitlines() if "delete element" in line]
    return "\n".join([*gone, text])


if __name__ == "__main__":
    main()
