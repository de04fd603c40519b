"""What tests of the trace package share: real recordings, and events made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from kplab.trace.file import read_trace
from kplab.trace.recording import Recording

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"

Load = Callable[[str], Recording]


@pytest.fixture(scope="session")
def load() -> Load:
    """Return what reads a recording of tests/data/recordings by its name, without its ending."""

    def read(name: str) -> Recording:
        plain = RECORDINGS / f"{name}.json"
        if plain.exists():
            return msgspec.json.decode(plain.read_bytes(), type=Recording)
        return read_trace(RECORDINGS / f"{name}.kptrace")

    return read
