"""Journeys out of recordings, as a notebook holds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kplab.jupyter.shown import JourneyView
from kplab.trace.file import read_trace
from kplab.trace.journey import tell

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"


@pytest.fixture(scope="session")
def view() -> Callable[[str], JourneyView]:
    """Return what reads a recording and tells it."""

    def read(name: str) -> JourneyView:
        recording = read_trace(RECORDINGS / f"{name}.kptrace")
        return JourneyView(tell(recording), recording)

    return read
