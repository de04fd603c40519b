"""How long IPVS mode takes for 1,000 Services in a guest, and beside it the bare programs that write the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from benchmarks.figure import Figure
from tests.vm.guest import ROOT, Guest, boot, stop

SERVICES, PODS = 1000, 6
LIMIT = 900.0


def measure() -> Iterator[Figure]:
    """Yield the times as the guest's clock shows them, and their ratio."""
    started = boot()
    try:
        worker = ("unshare", "-nm", sys.executable, "-m", "benchmarks.apply_ipvs_in_guest", str(SERVICES), str(PODS))
        done = Guest(started).run(["env", f"PYTHONPATH={ROOT}", *worker], limit=LIMIT)
    finally:
        stop(started)
    if done.status:
        raise RuntimeError(done.stderr)
    told = json.loads(done.stdout)
    taken, size = told["seconds"], f"{SERVICES} x {PODS}"
    programs = ", ".join(f"{name} {seconds:.1f}" for name, seconds in told["programs"].items())
    yield Figure(f"ipvs in a guest, {size}: first sync", taken["first"], "s", 10.0, programs)
    yield Figure("  against ip, ipvsadm, ipset, iptables-restore alone", taken["first"] / taken["bare first"], "x", 1.8)
    alone = taken["bare change"]
    yield Figure(
        "  one endpoint's change", taken["change"], "s", note=f"ipvsadm -R with the same line alone: {alone:.2f}"
    )
    yield Figure("  against ipvsadm alone", taken["change"] / alone, "x", 3.0)
    yield Figure("  a sync that compares everything, and finds it equal", taken["comparison"], "s")
