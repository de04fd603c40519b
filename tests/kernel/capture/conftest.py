"""One world a back-end, asked everything once; the tests look at its answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kplab.trace.events import CtChange, FrameSeen, KernelEvent, LegacyTrace, NftTrace

ROOT = Path(__file__).resolve().parents[3]
PRIVATE = ("unshare", "-Urnmpf", "--mount-proc")


class Answer(msgspec.Struct):
    """What was seen in answer to one question; see `tests/kernel/capture/play.py`."""

    events: list[KernelEvent]
    extra: dict[str, Any]

    def traces(self, node: str = "node-a") -> list[NftTrace]:
        """Return a node's nft trace."""
        return [e.what for e in self.events if e.node == node and isinstance(e.what, NftTrace)]

    def legacy(self, node: str = "node-a") -> list[LegacyTrace]:
        """Return a node's legacy trace."""
        return [e.what for e in self.events if e.node == node and isinstance(e.what, LegacyTrace)]

    def conntrack(self, node: str = "node-a") -> list[CtChange]:
        """Return a node's conntrack events."""
        return [e.what for e in self.events if e.node == node and isinstance(e.what, CtChange)]

    def frames(self) -> list[tuple[KernelEvent, FrameSeen]]:
        """Return the IP frames of all places, by the kernel's time."""
        found = [(e, e.what) for e in self.events if isinstance(e.what, FrameSeen) and e.what.protocol != 0x0806]
        return sorted(found, key=lambda pair: pair[0].stamp)


Answers = dict[str, Answer]


def _played(backend: str) -> Answers:
    can = subprocess.run([*PRIVATE, "true"], capture_output=True, text=True, check=False)
    if can.returncode:
        pytest.skip(f"private namespaces are refused here: {' '.join(PRIVATE)}: {can.stderr.strip()}")
    argv = [*PRIVATE, sys.executable, "-m", "tests.kernel.capture.play", backend]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=Answers)


@pytest.fixture(scope="session")
def nft_answers() -> Answers:
    """Return the answers with iptables-nft."""
    return _played("nft")


@pytest.fixture(scope="session")
def legacy_answers() -> Answers:
    """Return the answers with iptables-legacy."""
    return _played("legacy")


@pytest.fixture(params=["nft", "legacy"])
def answers(request: pytest.FixtureRequest) -> Answers:
    """Return the answers of each back-end in turn."""
    found: Answers = request.getfixturevalue(f"{request.param}_answers")
    return found
