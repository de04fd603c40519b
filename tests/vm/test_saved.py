"""A guest is saved at its first start, and every later one goes on from there: in a moment, and as one of its own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kplab.errors import SandboxError
from kplab.model.synthetic import large_manifest
from kplab.session.base import LabPlan, Step
from kplab.session.guests import greeted_guest
from kplab.session.live import greet, start_lab
from kplab.session.sandbox import microvm
from kplab.session.sandbox.guest_preload import host_files
from kplab.session.sandbox.microvm_gated import RESUMING

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

PLAN = LabPlan(manifest=large_manifest(1, 1), sandbox="microvm")
LATER = 2_000_000_000
"""In 2033 (seconds): what was saved is from another time than the one in which it goes on."""
RANDOM = ("sh", "-c", "od -An -tx1 -N16 /dev/urandom")


@pytest.fixture
def saved(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved guest's file in the cache. Which files it is made from stays as it is, should somebody change one now."""
    folder = shared_cache / "kplab/guest"
    files = host_files(folder)
    monkeypatch.setattr(microvm, "host_files", lambda cache: files)
    try:
        begun()
    except SandboxError as error:
        pytest.skip(str(error))
    return max(folder.glob("saved-*"), key=lambda path: path.stat().st_mtime_ns)


def begun() -> list[str]:
    """Start a guest, and end it when its agent has answered; return the steps that were told."""
    steps: list[Step] = []
    agent, channel, _ = greeted_guest(greet, steps.append, "asked for")
    channel.close()
    agent.wait(5.0)
    return [step.name for step in steps if step.done]


def test_a_later_start_goes_on_from_the_saved_one(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel boots; the guest has the time of now, random numbers of its own, and the host's tree as it is now."""
    monkeypatch.setattr(time, "time_ns", lambda: LATER * 10**9)
    drawn = set()
    for _ in range(2):
        steps: list[Step] = []
        session = start_lab(PLAN, steps.append)
        names = {step.name for step in steps}
        assert RESUMING in names
        assert "guest's kernel" not in names
        assert 0 <= int(session.execute("outside", ("date", "+%s")).stdout) - LATER < 600
        assert session.execute("outside", ("cat", __file__)).stdout == Path(__file__).read_text()
        drawn.add(session.execute("outside", RANDOM).stdout)
        session.close()
    assert len(drawn) == 2


def test_a_saved_guest_that_qemu_does_not_take_is_made_anew(saved: Path) -> None:
    """What is broken is deleted, a guest boots, and is saved again."""
    saved.write_bytes(b"not a guest")

    assert "guest's kernel" in begun()
    assert saved.stat().st_size > 1 << 20
