"""A journey of nftables mode in the plain course."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.course.plain_lines import journey_lines
from kplab.trace.file import read_trace
from kplab.trace.journey import tell

pytestmark = pytest.mark.unit

RECORDING = Path(__file__).parents[2] / "data" / "recordings" / "lab-nftables-nodeport-other.kptrace"


def test_the_lookup_that_decided_is_not_folded_away() -> None:
    """All chains are of one table there: what chose the Service is told, chains that only let pass are folded."""
    lines = list(journey_lines(tell(read_trace(RECORDING))))

    assert any("one lookup in service-nodeports" in line for line in lines)
    assert any("let pass unchanged by kube-proxy filter-forward" in line for line in lines)


def test_what_a_services_own_chain_does_is_told() -> None:
    """A rule there notes the client for ClientIP affinity, and leaves the packet as it was: it is not folded away."""
    lines = list(journey_lines(tell(read_trace(RECORDING.with_name("lab-nftables-affinity-2.kptrace")))))

    assert any("update @affinity-" in line for line in lines)
