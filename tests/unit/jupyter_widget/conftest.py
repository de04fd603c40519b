"""Journeys to pack: a SYN across two nodes and back, and every recording of a real lab."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec
import pytest

from kplab.model.journey import Journey
from kplab.model.topology import Topology
from kplab.scene.timeline import Timeline
from kplab.trace.file import read_trace
from kplab.trace.journey import tell

DATA = Path(__file__).parents[2] / "data"

Told = tuple[Journey, Topology]


@cache
def recorded(name: str) -> Told:
    """Return a recording's journey and its lab."""
    recording = read_trace(DATA / "recordings" / f"{name}.kptrace")
    return tell(recording), recording.topology


@pytest.fixture
def journey() -> Journey:
    """A SYN to 10.96.0.42 and its answer, 41 hops."""
    return msgspec.json.decode((DATA / "scene" / "journey.json").read_bytes(), type=Journey)


@pytest.fixture
def topology() -> Topology:
    """Two nodes, five pods, an outside host and the underlay."""
    return msgspec.json.decode((DATA / "scene" / "topology.json").read_bytes(), type=Topology)


@pytest.fixture
def timeline(journey: Journey, topology: Topology) -> Timeline:
    """That journey in time."""
    return Timeline(journey, topology)


@pytest.fixture(scope="session")
def told() -> Callable[[str], Told]:
    """Tells a recording by its name, once."""
    return recorded
