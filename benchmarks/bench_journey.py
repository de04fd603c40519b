"""How long it takes from the last kernel event to the journey."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure
from kplab.model.expression import parse_expression
from kplab.session.base import LabPlan
from kplab.session.live import start_lab
from kplab.trace.journey import tell
from kplab.trace.recording import Backend

MANIFEST = Path(__file__).parents[1] / "lessons/cluster.yaml"
BACKENDS: tuple[Backend, ...] = ("nft", "legacy")


def measure() -> Iterator[Figure]:
    """Yield the time of the first journey through a ruleset, the slowest there is, for both back-ends."""
    spec = parse_expression('IP(dst="10.96.0.42")/TCP(dport=80, flags="S")')
    for backend in BACKENDS:
        lab = start_lab(LabPlan(manifest=MANIFEST.read_text(), backend=backend))
        try:
            recording = lab.send(spec, "client")
        finally:
            lab.close()
        begun = time.perf_counter()
        journey = tell(recording)
        taken = (time.perf_counter() - begun) * 1000
        yield Figure(f"events to journey, {backend}, rules seen first", taken, "ms", 50, f"{len(journey.hops)} hops")
