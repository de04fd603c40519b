"""Rounds of SIGKILL at random moments; the full hundred with `KPLAB_ROUNDS=100` in the environment."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[3]
ROUNDS = int(os.environ.get("KPLAB_ROUNDS", "12"))
LONGEST = 1.2
"""Seconds after which the signal comes at the latest: a lab is up and has sent packets by then."""

STUDENT = """
import sys
from kplab.model.expression import parse_expression
from kplab.session.base import LabPlan
from kplab.session.live import start_lab
session = start_lab(LabPlan(manifest=open(sys.argv[1]).read()))
spec = parse_expression('IP(dst="10.96.0.42")/TCP(dport=80, flags="S")')
while True:
    session.send(spec, "client")
"""


def test_sigkill_at_any_moment_leaves_nothing(
    machine_state: Callable[[], dict[str, str]],
    remains_of: Callable[[int], Any],
    descendants: Callable[[int], list[int]],
) -> None:
    """The user's process, the agent, `unshare` or any process of the lab is killed at a random moment.

    Afterwards no process and no namespace is left, and the machine is what it was. The seed is in the message.
    """
    seed = int(os.environ.get("KPLAB_SEED", str(time.time_ns())))
    rng = random.Random(seed)  # noqa: S311
    before = machine_state()
    for number in range(ROUNDS):
        told = f"round {number} of seed {seed}"
        argv = [sys.executable, "-c", STUDENT, str(ROOT / "lessons/cluster.yaml")]
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as student:
            time.sleep(rng.uniform(0.05, LONGEST))
            lab = descendants(student.pid)
            remains = remains_of(student.pid)
            victim = rng.choice([student.pid, *lab[:2], *lab])
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            if victim != student.pid and victim not in lab[:2]:
                # A pod's server or a proxy: the lab lives on, until its user ends.
                time.sleep(0.05)
                student.kill()
            try:
                _, said = student.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                student.kill()
                pytest.fail(f"{told}: the user's process did not notice that {victim} of {lab} was gone")
        assert remains.gone(), f"{told}: {remains.left()}"
        if victim in lab[:2]:
            assert "ProtocolError" in said or "SandboxError" in said, f"{told}: {said}"
    assert machine_state() == before
