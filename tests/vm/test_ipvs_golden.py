"""What kplab-proxy leaves in a kernel with IPVS, against what the real kube-proxy left there, scenario by scenario."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.vm.guest import Guest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(330)]

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
WORKER = Path(__file__).with_name("ipvs_worker.py")
SCENARIOS = sorted(path.parent.name for path in GOLDEN.glob("*/manifest.yaml"))
FREE_ORDER = {"KUBE-IPVS-OUT-FILTER"}
"""Chains in which the order among Services means nothing."""

Result = dict[str, Any]


@pytest.fixture(scope="module")
def results(guest: Guest) -> dict[tuple[str, int], Result]:
    """What the guest's kernel held after each step of each scenario; its two processors do half of them each."""
    halves = []
    for number in (0, 1):
        folders = [str(GOLDEN / name) for name in SCENARIOS[number::2]]
        halves.append(shlex.join(["unshare", "-nm", sys.executable, str(WORKER), *folders]))
    script = f"cd /run/guest; {halves[0]} >a & first=$!; {halves[1]} >b && wait $first && cat a b"
    told = guest.run(["sh", "-c", script], limit=300)
    assert told.status == 0, told.stderr
    return {(r["scenario"], r["step"]): r for r in map(json.loads, told.stdout.splitlines())}


def step_count(scenario: str) -> int:
    """How many manifests a scenario has."""
    return 1 + len(list((GOLDEN / scenario).glob("step*.yaml")))


CASES = [(scenario, step) for scenario in SCENARIOS for step in range(1, step_count(scenario) + 1)]


def golden(scenario: str, step: int, suffix: str) -> str:
    """Return one file of a scenario's step."""
    part = f".step{step}" if step > 1 else ""
    return (GOLDEN / scenario / f"ipvs{part}.{suffix}").read_text()


def tables(text: str) -> dict[str, dict[str, list[str]]]:
    """Return iptables-save as table -> chain -> rules; tables without rules or chains of ours are left out."""
    found: dict[str, dict[str, list[str]]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            found.setdefault(table, {})[line[1:].split()[0]] = []
        elif line.startswith("-A "):
            found[table][line.split()[1]].append(line)
    for chains in found.values():
        for name in FREE_ORDER & chains.keys():
            chains[name].sort()
    return {name: chains for name, chains in found.items() if name != "mangle" or any(chains.values())}


def servers(text: str) -> dict[str, list[str]]:
    """Return `ipvsadm -S -n` by virtual server, without the order that means nothing."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        found.setdefault(" ".join(line.split()[1:3]), []).append(line.strip())
    return {key: sorted(lines) for key, lines in found.items()}


def sets(text: str) -> list[str]:
    """Return `ipset save` without order, and without what the kernel chose."""
    return sorted(re.sub(r" (bucketsize|initval) \S+", "", line) for line in text.splitlines())


def test_every_state_is_compared() -> None:
    """No scenario and no step is left out in silence."""
    assert len(SCENARIOS) == 48
    assert len(CASES) == 56


@pytest.mark.parametrize(("scenario", "step"), CASES)
def test_the_kernel_holds_what_kube_proxy_left(
    results: dict[tuple[str, int], Result], scenario: str, step: int
) -> None:
    """Virtual servers, ipsets, addresses, local routes, both families' rules, and sysctls equal the dump's."""
    result = results[scenario, step]

    assert result["errors"] == []
    assert servers(result["ipvsadm-save"]) == servers(golden(scenario, step, "ipvsadm-save"))
    assert sets(result["ipset"]) == sets(golden(scenario, step, "ipset"))
    assert sorted(result["addresses"]) == sorted(re.findall(r"inet6? (\S+) ", golden(scenario, step, "addr")))
    routes = golden(scenario, step, "route")
    assert result["local"] == sorted(re.findall(r"^local ([^\s/]+) ", routes, flags=re.MULTILINE))
    for family in ("iptables-save", "ip6tables-save"):
        assert tables(result[family]) == tables(golden(scenario, step, family)), family
    assert result["sysctl"] == golden(scenario, step, "sysctl")


def test_a_later_sync_writes_what_changed_only(results: dict[tuple[str, int], Result]) -> None:
    """An endpoint that comes is one command for IPVS and one line for ipset; nothing is read, no other program run."""
    result = results["steps-endpoints", 2]

    assert result["kinds"] == ["partial4"]
    assert result["servers"] == ["-a -t 10.96.0.20:80 -r 10.244.1.11:8080 -m -w 1"]
    assert result["writes"] == [
        [["ipset", "restore", "-exist"], "add KUBE-LOOP-BACK 10.244.1.11,8080,10.244.1.11\n"],
    ]


def test_timeouts_are_set(results: dict[tuple[str, int], Result]) -> None:
    """The configuration's timeouts go to ipvsadm; without any it is not asked."""
    set_by = {
        name: [argv[1:] for argv, _ in result["writes"] if "--set" in argv] for (name, _), result in results.items()
    }

    assert set_by.pop("cfg-ipvs-strictarp-sh") == [["--set", "1000", "60", "200"]]
    assert not any(set_by.values())
