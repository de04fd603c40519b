"""How long rules take to reach the kernel, with a bare iptables-restore or nft of the same lines beside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.figure import Figure

SIZE = "4,000 Services x 6 endpoints"


def run(module: str, *arguments: str) -> dict[str, float]:
    """Measure one mode and back-end in namespaces of its own."""
    script = 'mount -t tmpfs tmpfs /run && exec "$@"'
    private = ["unshare", "-nm" if os.geteuid() == 0 else "-Urnm", "sh", "-c", script, "sh"]
    command = [*private, sys.executable, "-m", f"benchmarks.{module}", *arguments]
    told: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return told


def measure() -> Iterator[Figure]:
    """Yield the first sync (compiling included) and one endpoint's change, for each mode and back-end."""
    for backend in ("nft", "legacy"):
        told = run("apply_in_namespace", backend)
        first, change = told["first"], told["change"]
        beside, beside_change = told["bare first"], told["bare change"]
        yield Figure(f"first sync, iptables-{backend}, {SIZE}", first, "s", 5.0, f"bare restore {beside:.2f} s")
        if backend == "legacy":
            yield Figure("  times a bare iptables-legacy-restore", first / beside, "x", 1.8)
        yield Figure(f"one endpoint's change, iptables-{backend}", change, "s", None, f"bare {beside_change:.2f} s")
        yield Figure("  times a bare iptables-restore --noflush", change / beside_change, "x", 2.0)
    told = run("apply_nft_in_namespace")
    first, change = told["first"], told["change"]
    beside, beside_change = told["bare first"], told["bare change"]
    yield Figure(f"first sync, nftables, {SIZE}", first, "s", 5.0, f"bare nft -f {beside:.2f} s")
    yield Figure("  times a bare nft -f", first / beside, "x", 1.8)
    yield Figure("one endpoint's change, nftables", change, "s", 0.1, f"bare {beside_change:.2f} s")
    yield Figure("  times a bare nft -f", change / beside_change, "x", 3.0)
    yield Figure("  peak memory", told["peak"] / 1e6, "MB", 120.0)
