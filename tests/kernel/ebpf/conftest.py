"""A lab in eBPF mode, kept for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kplab.errors import SandboxError
from kplab.session.base import LabPlan
from kplab.session.live import LiveSession, start_lab

CLUSTER = Path(__file__).parents[3] / "lessons" / "cluster.yaml"


def start_ebpf_lab() -> LiveSession:
    """Return a lab with lessons/cluster.yaml; skip where the machine cannot run one, and say what it lacks."""
    try:
        return start_lab(LabPlan(manifest=CLUSTER.read_text(encoding="utf-8"), mode="ebpf"))
    except SandboxError as error:
        pytest.skip(f"no lab in eBPF mode can be started here: {error}")


@pytest.fixture(scope="module")
def lab() -> Iterator[LiveSession]:
    """Return a lab whose programs are attached and whose maps are in step."""
    session = start_ebpf_lab()
    yield session
    session.close()
