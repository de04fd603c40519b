"""One lab for each back-end, kept for all journeys that are told in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kplab.errors import SandboxError
from kplab.session.base import LabPlan, Session
from kplab.session.live import start_lab

CLUSTER = Path(__file__).parents[3] / "lessons" / "cluster.yaml"


@pytest.fixture(scope="module", params=["nft", "legacy"])
def lab(request: pytest.FixtureRequest) -> Iterator[Session]:
    """Return a lab with lessons/cluster.yaml, its rules synced."""
    yield from _started(LabPlan(manifest=CLUSTER.read_text(encoding="utf-8"), backend=request.param))


@pytest.fixture(scope="module")
def nft_lab() -> Iterator[Session]:
    """Return the same in nftables mode."""
    yield from _started(LabPlan(manifest=CLUSTER.read_text(encoding="utf-8"), mode="nftables"))


def _started(plan: LabPlan) -> Iterator[Session]:
    missing = [tool for tool in ("nft", "iptables-save", "conntrack", "ip") if shutil.which(tool) is None]
    if os.name != "posix" or missing:
        pytest.skip(f"programs that are not installed: {', '.join(missing)}")
    try:
        session = start_lab(plan)
    except SandboxError as error:
        pytest.skip(f"no lab can be started here: {error}")
    yield session
    session.close()
