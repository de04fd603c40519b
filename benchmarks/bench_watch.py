"""Watching a flood: 1,000 packets/s for 10 s through 4,000 Services, and reading the handles of as many rules.

Wants root in the first user namespace (see `tests/kernel/capture/flood.py`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
RATE, SECONDS, SERVICES = 1000, 10, 4000


class Outcome(msgspec.Struct):
    """What `tests/kernel/capture/flood.py` prints."""

    sent: int
    traced: int
    events: int
    lost: int
    busy: float
    rules: int
    handles: float


def flood(backend: str) -> Outcome:
    """Run one flood in namespaces of its own."""
    private = ["unshare", "-nmpf", "--mount-proc", sys.executable, "-m", "tests.kernel.capture.flood"]
    argv = [*private, backend, str(RATE), str(SECONDS), str(SERVICES)]
    done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
    return msgspec.json.decode(done.stdout, type=Outcome)


def measure() -> Iterator[Figure]:
    """Yield losses, and packets that neither came nor were reported lost, of each back-end."""
    for backend in ("nft", "legacy"):
        came = flood(backend)
        silent = 0 if came.lost else came.sent - came.traced
        yield Figure(f"{backend}: packets missing and not reported lost", silent, "", 0, f"{came.events} events")
        yield Figure(f"{backend}: events lost", came.lost, "", note="shown when there are any")
        yield Figure(f"{backend}: processor time of watching, a second", came.busy / SECONDS, "s")
        if backend == "nft":
            yield Figure(f"handles of {came.rules} rules", came.handles, "s", 0.2)
