"""How long a guest takes: booted and saved, gone on with from what was saved, and a packet traced in it."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure
from kplab.model.expression import parse_expression
from kplab.session.base import LabPlan, Step
from kplab.session.live import start_lab
from kplab.session.sandbox.guest_kernel import cache_folder
from kplab.session.sandbox.microvm_gated import RESUMING

MANIFEST = Path(__file__).resolve().parents[1] / "lessons/cluster.yaml"
ROUNDS = 5


def measure() -> Iterator[Figure]:
    """Yield the seconds of both starts until the agent answers, the lab's, and a trace's when the lab is warm."""
    unpacked = cache_folder(os.environ)
    with tempfile.TemporaryDirectory() as fresh:
        cache = Path(fresh) / "kplab/guest"
        cache.mkdir(parents=True)
        for part in ("boot", "lib"):
            if (unpacked / part).exists():
                (cache / part).symlink_to(unpacked / part)
        os.environ["XDG_CACHE_HOME"] = fresh
        booted, _, _ = _lab(0)
        saved, whole, traced = _lab(ROUNDS)
    yield Figure("microvm: agent answers, nothing in the cache", booted["agent greeted"], "s", 10.0)
    note = "from the saved guest" if RESUMING in saved else "booted again: a file of kplab's has changed meanwhile"
    yield Figure("microvm: agent answers, a second start", saved["agent greeted"], "s", 3.0, note)
    yield Figure("microvm: the lessons' lab, from the command to the end", whole, "s")
    yield Figure(f"microvm: a packet traced, warm (median of {ROUNDS})", traced, "s", 2.0)


def _lab(rounds: int) -> tuple[dict[str, float], float, float]:
    """Start a lab and end it; return each step's end, the seconds until it stands, and a trace's."""
    ends: dict[str, float] = {}

    def report(step: Step) -> None:
        if step.done:
            ends[step.name] = step.seconds

    begun = time.perf_counter()
    session = start_lab(LabPlan(manifest=MANIFEST.read_text(), sandbox="microvm"), report)
    whole = time.perf_counter() - begun
    packet = parse_expression('IP(dst="10.96.0.42")/TCP(dport=80, flags="S")')
    taken = []
    for number in range(rounds + 1 if rounds else 0):
        begun = time.perf_counter()
        session.send(packet, "client")
        if number:  # the first one warms
            taken.append(time.perf_counter() - begun)
    session.close()
    return ends, whole, statistics.median(taken) if taken else 0.0
