"""How soon a lab stands in a container, beside one in namespaces; wants an engine, and the image."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from benchmarks.figure import Figure
from kplab.cli.lab import read_manifest
from kplab.errors import SandboxError
from kplab.session.base import LabPlan, Step
from kplab.session.live import start_lab

ROUNDS = 5
LIMIT = 2.0
"""Seconds from the engine's `run` until the lab stands."""


def measure() -> Iterator[Figure]:
    """Yield the medians; without an engine or an image only the reason."""
    manifest = read_manifest(None)
    inside, whole, downs, beside = [], [], [], []
    for _ in range(ROUNDS):
        steps: dict[str, float] = {}

        def report(step: Step, steps: dict[str, float] = steps) -> None:
            steps[f"{step.name} {'done' if step.done else 'begun'}"] = step.seconds

        began = time.perf_counter()
        try:
            lab = start_lab(LabPlan(manifest=manifest, sandbox="container"), report)
        except SandboxError as error:
            yield Figure("a lab in a container", 0.0, "s", note=f"none here: {error.happened}")
            return
        whole.append(time.perf_counter() - began)
        begun = [name for name in steps if name.startswith("agent in a container") and name.endswith("begun")]
        started = steps[begun[0]]
        inside.append(max(steps.values()) - started)
        began = time.perf_counter()
        lab.close()
        downs.append(time.perf_counter() - began)
        began = time.perf_counter()
        start_lab(LabPlan(manifest=manifest, sandbox="namespaces")).close()
        beside.append(time.perf_counter() - began)
    yield Figure("a container's lab, from the engine's run until it stands", median(inside), "s", LIMIT)
    yield Figure("the same with the engine's and the image's check", median(whole), "s")
    yield Figure("the container's end", median(downs), "s")
    yield Figure("a lab in namespaces, up and down", median(beside), "s")
