"""The kernel's trace of real packets, against the walk's model of the same rules."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

PROGRAM = Path(__file__).with_name("cross_check.py")
SCENARIOS = (
    "clusterip-3ep", "hairpin", "nodeport-local-with", "no-endpoints", "affinity-clientip", "lb-source-ranges",
    "dualstack", "hand-made",
)  # fmt: skip
ALTERED = "clusterip-3ep:altered"
BACKENDS = ("nft", "legacy")

Reports = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def reports() -> Reports:
    """What came of every scenario, by back-end and name; the two back-ends run side by side."""
    started = {
        backend: subprocess.Popen(
            ["unshare", "-Urnmpf", "--mount-proc", sys.executable, str(PROGRAM), backend, *SCENARIOS, ALTERED],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for backend in BACKENDS
    }
    found: Reports = {}
    for backend, process in started.items():
        told, problems = process.communicate(timeout=110)
        assert process.returncode == 0, problems
        found |= {(backend, report["scenario"]): report for report in map(json.loads, told.splitlines())}
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_kernel_and_model_agree_on_every_rule(reports: Reports, backend: str, scenario: str) -> None:
    """Pods, the node and the outside send to all that the rules speak of: no rule is judged otherwise."""
    report = reports[backend, scenario]
    assert report["lost"] == 0
    assert report["disagreements"] == []
    assert report["unfinished"] == []
    assert report["walks"] > 200


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_kind_of_end_was_among_them(reports: Reports, backend: str) -> None:
    """The packets met accept, drop, REJECT, goto, RETURN, policies of both kinds, and draws."""
    verdicts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for scenario in SCENARIOS:
        verdicts.update(reports[backend, scenario]["verdicts"])
        reasons.update(reports[backend, scenario]["reasons"])
    ends = {"accept", "drop", "reject", "goto", "jump", "return", "continue", "policy accept", "policy drop"}
    assert ends <= set(verdicts)
    assert {"dst is # not #", "the draw missed: probability # (rebuilt)", "mark # lacks #"} <= set(reasons)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rules_other_than_the_kernels_are_noticed(reports: Reports, backend: str) -> None:
    """With another address in the dump than in the kernel, the walk disagrees, and names the rule."""
    told = reports[backend, ALTERED]["disagreements"]
    assert any(line.startswith("KUBE-SERVICES rule 1: the model says that it does not match") for line in told)
