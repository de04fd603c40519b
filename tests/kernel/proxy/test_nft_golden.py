"""What kplab-proxy in nftables mode leaves in this kernel, against what the real kube-proxy left there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
STEPS = sorted(
    (dump.parent.name, int(found.group(1) or 1))
    for dump in GOLDEN.glob("*/nftables*.nft")
    if (found := re.fullmatch(r"nftables(?:\.step(\d+))?\.nft", dump.name))
)
"""Every scenario and step that there is a dump of."""
WORKER = Path(__file__).with_name("golden_worker.py")
SHARES = 2
"""How many processes do the scenarios."""

Result = dict[str, Any]


def start_worker(
    scenarios: list[str], way: str = "direct", *, own_user: bool = os.geteuid() != 0
) -> subprocess.Popen[str]:
    """Start a process that does many scenarios, each in a namespace of its own (`own_user`: and a user namespace)."""
    folders = [str(GOLDEN / name) for name in scenarios]
    private = ["unshare", "-Urnm" if own_user else "-nm"]
    command = [*private, sys.executable, str(WORKER), "nftables", way, *folders]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def collect(worker: subprocess.Popen[str]) -> list[Result]:
    """Wait for a worker and return what it printed."""
    told, problems = worker.communicate(timeout=110)
    assert worker.returncode == 0, problems
    return [json.loads(line) for line in told.splitlines()]


@pytest.fixture(scope="module")
def results() -> dict[tuple[str, int], Result]:
    """What the kernel held after each step of each scenario."""
    names = sorted({scenario for scenario, _ in STEPS})
    workers = [start_worker(names[share::SHARES]) for share in range(SHARES)]
    return {(result["scenario"], result["step"]): result for worker in workers for result in collect(worker)}


def golden(scenario: str, step: int, suffix: str) -> str:
    """Return one file of a scenario."""
    stem = "nftables" + (f".step{step}" if step > 1 else "")
    return (GOLDEN / scenario / f"{stem}.{suffix}").read_text()


def blocks_of(text: str) -> list[str]:
    """Return `nft list ruleset` as its tables' blocks, without the order of blocks and of elements."""
    found: list[str] = []
    for table in text.split("\n}\n"):
        head, *blocks = table.replace(" {\n\tcomment", " {\n\n\tcomment", 1).split("\n\n")
        # An element's line may be broken in many; a set's block is one line here.
        found += [f"{head.split(' {')[0]}: {_sorted_elements(block)}" for block in blocks]
    return sorted(found)


def _sorted_elements(block: str) -> str:
    return re.sub(
        r"\{([^{}]*)\}",
        lambda part: "{ " + ", ".join(sorted(each.strip() for each in part.group(1).split(","))) + " }",
        re.sub(r",\s+", ", ", block.strip()),
    )


def objects_of(listed: list[dict[str, Any]]) -> list[str]:
    """Return nft's JSON objects, rules with their place in their chain, in an order that means nothing."""
    places: Counter[str] = Counter()
    found = []
    for each in listed:
        ((kind, body),) = each.items()
        place = ""
        if kind == "rule":
            chain = f"{body['family']} {body['chain']}"
            place = f"{chain} {places[chain]}: "
            places[chain] += 1
        found.append(place + json.dumps({kind: _normal(body)}, sort_keys=True))
    return sorted(found)


def _normal(value: Any) -> Any:
    """Drop handles, and the order of elements."""
    if isinstance(value, dict):
        kept = {key: _normal(part) for key, part in value.items() if key != "handle"}
        for key in ("elem", "set"):
            if isinstance(kept.get(key), list):
                kept[key] = sorted(kept[key], key=json.dumps)
        return kept
    return [_normal(part) for part in value] if isinstance(value, list) else value


def ruleset_of(dump: str) -> list[dict[str, Any]]:
    """Return the objects of a live `nft -j list ruleset`."""
    return [each for each in json.loads(dump)["nftables"] if "metainfo" not in each]


def test_every_scenario_is_found() -> None:
    """No scenario and no step is left out in silence."""
    assert len({scenario for scenario, _ in STEPS}) == 48
    assert len(STEPS) == 56
    for scenario, step in STEPS:
        manifest = "manifest.yaml" if step == 1 else f"step{step}.yaml"
        assert (GOLDEN / scenario / manifest).exists()


@pytest.mark.parametrize(("scenario", "step"), STEPS)
def test_the_kernel_holds_what_kube_proxy_left(
    results: dict[tuple[str, int], Result], scenario: str, step: int
) -> None:
    """After each step the whole ruleset, as text and as JSON, and the sysctls equal the dump's."""
    result = results[scenario, step]

    assert result["errors"] == []
    assert blocks_of(result["nft"]) == blocks_of(golden(scenario, step, "nft"))
    expected = [json.loads(line) for line in golden(scenario, step, "nft.json").splitlines()]
    assert objects_of(ruleset_of(result["nft.json"])) == objects_of(expected)
    assert result["sysctl"] == golden(scenario, step, "sysctl")


def golden_transactions(scenario: str, step: int) -> list[str]:
    """Return what kube-proxy sent to `nft -f -`, empty ones left out."""
    runs = golden(scenario, step, "writes").split("$ ")
    return [text for run in runs for head, _, text in [run.partition("\n")] if head == "nft -f -" and text.strip()]


def own_transactions(result: Result) -> list[str]:
    """The same of ours."""
    return [text for argv, text in result["writes"] if argv == ["nft", "-f", "-"]]


@pytest.mark.parametrize(
    ("scenario", "step"), [*((name, 1) for name in sorted({s for s, _ in STEPS})), ("steps-endpoints", 2),
    ("steps-endpoints", 3), ("steps-endpoints", 4), ("steps-service", 2), ("steps-service", 3), ("steps-service", 4)]
)  # fmt: skip
def test_what_is_sent_is_what_kube_proxy_sends(
    results: dict[tuple[str, int], Result], scenario: str, step: int
) -> None:
    """A sync sends kube-proxy's lines, each family's in a transaction of its own, and nothing that is there already.

    Only the order among Services is ours, so lines are compared without it.
    """
    sent = [sorted(text.splitlines()) for text in own_transactions(results[scenario, step])]
    expected = [sorted(text.splitlines()) for text in golden_transactions(scenario, step)]

    assert sorted(sent) == sorted(expected)


def test_a_user_namespace_makes_no_difference() -> None:
    """Where nft may send small messages only, as in every lab, the kernel ends up holding the same."""
    for result in collect(start_worker(["fifty-services", "steps-service"], own_user=True)):
        assert result["errors"] == []
        assert blocks_of(result["nft"]) == blocks_of(golden(result["scenario"], result["step"], "nft"))


def test_pieces_make_no_difference() -> None:
    """States that go in many small transactions end up the same, and every change after them too."""
    for result in collect(start_worker(["fifty-services", "steps-service", "affinity-clientip", "lb"], "pieces")):
        assert result["errors"] == []
        assert result["step"] > 1 or len(own_transactions(result)) > 4
        assert blocks_of(result["nft"]) == blocks_of(golden(result["scenario"], result["step"], "nft"))
