"""A lab of any mode, for tests that hold in each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kplab.errors import SandboxError
from kplab.session.base import LabPlan
from kplab.session.live import LiveSession, start_lab
from kplab.trace.recording import Backend

CLUSTER = Path(__file__).parents[3] / "lessons" / "cluster.yaml"

StartLab = Callable[..., LiveSession]


@pytest.fixture
def start() -> Iterator[StartLab]:
    """Return what starts a lab; all that were started end with the test."""
    labs: list[LiveSession] = []

    def begin(mode: str, backend: Backend = "nft") -> LiveSession:
        try:
            lab = start_lab(LabPlan(manifest=CLUSTER.read_text(encoding="utf-8"), mode=mode, backend=backend))
        except SandboxError as error:
            pytest.skip(f"no lab can be started here: {error}")
        labs.append(lab)
        return lab

    yield begin
    for lab in labs:
        lab.close()
