"""A journey and a topology to lay out: 10.96.0.42 from a pod on node-a to an endpoint on node-b, and back."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kplab.model.journey import Journey
from kplab.model.topology import Topology
from kplab.scene.timeline import Timeline

DATA = Path(__file__).parents[2] / "data" / "scene"


@pytest.fixture
def journey() -> Journey:
    """A SYN to 10.96.0.42 and its answer, 41 hops."""
    return msgspec.json.decode((DATA / "journey.json").read_bytes(), type=Journey)


@pytest.fixture
def topology() -> Topology:
    """Two nodes, five pods, an outside host and the underlay."""
    return msgspec.json.decode((DATA / "topology.json").read_bytes(), type=Topology)


@pytest.fixture
def timeline(journey: Journey, topology: Topology) -> Timeline:
    """That journey in time."""
    return Timeline(journey, topology)
