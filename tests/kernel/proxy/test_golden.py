"""What kplab-proxy leaves in this kernel, against what the real kube-proxy left there, scenario by scenario."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
SCENARIOS = sorted(path.parent.name for path in GOLDEN.glob("*/manifest.yaml"))
BACKENDS = ("nft", "legacy")
WORKER = Path(__file__).with_name("golden_worker.py")

LIKE_UPSTREAM = ("affinity-clientip", "dualstack-lb", "lb-source-ranges-node", "steps-endpoints", "steps-service")
"""Brought into the kernel a second time with kube-proxy's own commands; what was run is compared too."""

FREE_ORDER = {
    "KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL", "KUBE-IPVS-OUT-FILTER",
}  # fmt: skip
"""Chains in which the order among Services means nothing: kube-proxy walks a Go map."""

LAST = "NOTE: this must be the last rule in this chain"

Result = dict[str, Any]


def run_worker(
    backend: str, way: str, scenarios: tuple[str, ...], *, own_user: bool = os.geteuid() != 0
) -> subprocess.Popen[str]:
    """Start a process that does many scenarios, each in a namespace of its own (`own_user`: and a user namespace)."""
    folders = [str(GOLDEN / name) for name in scenarios]
    command = ["unshare", "-Urnm" if own_user else "-nm", sys.executable, str(WORKER), backend, way, *folders]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def collect(worker: subprocess.Popen[str]) -> list[Result]:
    """Wait for a worker and return what it printed."""
    told, problems = worker.communicate(timeout=110)
    assert worker.returncode == 0, problems
    return [json.loads(line) for line in told.splitlines()]


@pytest.fixture(scope="module")
def kernel_results() -> dict[tuple[str, str, int], Result]:
    """What the kernel held after each step, in the default way."""
    workers = {backend: run_worker(backend, "direct", tuple(SCENARIOS)) for backend in BACKENDS}
    return {(b, r["scenario"], r["step"]): r for b, worker in workers.items() for r in collect(worker)}


@pytest.fixture(scope="module")
def upstream_results() -> dict[tuple[str, str, int], Result]:
    """The same for some scenarios, with kube-proxy's own commands."""
    workers = {backend: run_worker(backend, "upstream", LIKE_UPSTREAM) for backend in BACKENDS}
    return {(b, r["scenario"], r["step"]): r for b, worker in workers.items() for r in collect(worker)}


def step_count(scenario: str) -> int:
    """How many manifests a scenario has."""
    return 1 + len(list((GOLDEN / scenario).glob("step*.yaml")))


def golden(scenario: str, backend: str, step: int, suffix: str) -> Path:
    """Return one file of a scenario."""
    stem = f"iptables-{backend}" + (f".step{step}" if step > 1 else "")
    return GOLDEN / scenario / f"{stem}.{suffix}"


def normalised(text: str) -> dict[str, dict[str, list[str]]]:
    """Return iptables-save as table -> chain -> rules, with the order dropped that means nothing."""
    tables: dict[str, dict[str, list[str]]] = {}
    chains: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            chains = tables.setdefault(line[1:], {})
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            chains[name] = [f"policy {policy}"]
        elif line.startswith("-A "):
            chains[line.split()[1]].append(line)
    for chains in tables.values():
        for name in FREE_ORDER & chains.keys():
            chains[name] = _by_service(chains[name])
    return tables


def _by_service(rules: list[str]) -> list[str]:
    """Order groups of rules by Service, keeping each group's own order and the last rule's place."""
    last = [rule for rule in rules if LAST in rule]
    assert not last or rules[-len(last) :] == last, "the jump to KUBE-NODEPORTS is not last"
    return [*sorted(rule for rule in rules if LAST not in rule), *last]


def writes_of(lines: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    """Sort programs' runs by family, leaving out what runs beside the sync: canaries, clean-up of nftables mode."""
    found: dict[str, list[str]] = {"4": [], "6": [], "canary": [], "nft": []}
    for command, stdin in lines:
        program = command.split(" ", 1)[0]
        family = "6" if program.startswith("ip6tables") else "4"
        if program == "nft":
            found["nft"].append(f"{command}\n{stdin.strip()}")
        elif "KUBE-PROXY-CANARY" in command:
            found["canary"].append(command)
        else:
            found[family].append(command + "\n" + _normal_text(stdin))
    found["canary"].sort()
    found["nft"].sort()
    return found


def _normal_text(stdin: str) -> str:
    """Order a restore's text so that the order among Services does not show."""
    tables = []
    for block in stdin.split("COMMIT\n"):
        head, *lines = block.splitlines() or [""]
        if not head:
            continue
        chains: dict[str, list[str]] = {}
        for line in lines:
            chains.setdefault(line.split()[1] if line.startswith("-") else ":", []).append(line)
        for name in chains:
            if name in FREE_ORDER:
                chains[name] = _by_service(chains[name])
            elif name == ":":
                chains[name].sort()
        tables.append("\n".join([head, *(line for name in sorted(chains) for line in chains[name])]))
    return "\n".join(tables)


def golden_writes(path: Path) -> Iterator[tuple[str, str]]:
    """Read a .writes file: each program's command line, and its input."""
    command, lines = "", list[str]()
    for line in path.read_text().splitlines(keepends=True):
        if line.startswith("$ "):
            if command:
                yield command, "".join(lines)
            command, lines = line[2:].rstrip("\n"), []
        else:
            lines.append(line)
    if command:
        yield command, "".join(lines)


def own_writes(result: Result, backend: str) -> Iterator[tuple[str, str]]:
    """The same of a worker's run, with the back-end's name taken out of the program's."""
    for argv, stdin in result["writes"]:
        program = argv[0].replace(f"-{backend}", "")
        if not program.endswith("-save") and program != "conntrack":
            yield " ".join([program, *argv[1:]]), stdin


def test_every_scenario_is_found() -> None:
    """No scenario is left out in silence, and every one has both back-ends' dumps of both families."""
    assert len(SCENARIOS) == 48
    for name in SCENARIOS:
        for backend in BACKENDS:
            for step in range(1, step_count(name) + 1):
                for suffix in ("iptables-save", "ip6tables-save", "sysctl", "writes"):
                    assert golden(name, backend, step, suffix).exists()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_kernel_holds_what_kube_proxy_left(
    kernel_results: dict[tuple[str, str, int], Result], scenario: str, backend: str
) -> None:
    """After each step both families' nat, filter and mangle, and the sysctls, equal the dump's."""
    for step in range(1, step_count(scenario) + 1):
        result = kernel_results[backend, scenario, step]

        assert result["errors"] == []
        for family in ("iptables", "ip6tables"):
            expected = normalised(golden(scenario, backend, step, f"{family}-save").read_text())
            assert normalised(result[family]) == expected, f"{family}, step {step}"
        assert result["sysctl"] == golden(scenario, backend, step, "sysctl").read_text()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scenario", LIKE_UPSTREAM)
def test_like_upstream_leaves_the_same(
    upstream_results: dict[tuple[str, str, int], Result], scenario: str, backend: str
) -> None:
    """kube-proxy's own commands leave in the kernel what the dump holds, at every step."""
    for step in range(1, step_count(scenario) + 1):
        result = upstream_results[backend, scenario, step]

        assert result["errors"] == []
        for family in ("iptables", "ip6tables"):
            expected = normalised(golden(scenario, backend, step, f"{family}-save").read_text())
            assert normalised(result[family]) == expected, f"{family}, step {step}"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scenario", LIKE_UPSTREAM)
def test_like_upstream_runs_the_same_commands(
    upstream_results: dict[tuple[str, str, int], Result], scenario: str, backend: str
) -> None:
    """The first sync runs kube-proxy's programs in its order, with its arguments and its input."""
    actual = writes_of(own_writes(upstream_results[backend, scenario, 1], backend))
    expected = writes_of(golden_writes(golden(scenario, backend, 1, "writes")))

    assert actual == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_partial_sync_writes_what_kube_proxy_writes(
    upstream_results: dict[tuple[str, str, int], Result], backend: str
) -> None:
    """Each change of endpoints writes the same partial text, for the one family that changed."""
    for step in range(2, step_count("steps-endpoints") + 1):
        result = upstream_results[backend, "steps-endpoints", step]
        expected = writes_of(golden_writes(golden("steps-endpoints", backend, step, "writes")))

        assert result["kinds"] == ["partial4"]
        assert writes_of(own_writes(result, backend)) == expected, f"step {step}"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_user_namespace_makes_no_difference(backend: str) -> None:
    """Where iptables-nft may send small messages only, as in every lab, the kernel ends up holding the same."""
    scenarios = ("fifty-services", "steps-endpoints")
    for result in collect(run_worker(backend, "direct", scenarios, own_user=True)):
        assert result["errors"] == []
        for family in ("iptables", "ip6tables"):
            file = golden(result["scenario"], backend, result["step"], f"{family}-save")
            assert normalised(result[family]) == normalised(file.read_text())


def test_the_default_way_runs_few_programs(kernel_results: dict[tuple[str, str, int], Result]) -> None:
    """A first sync of both families costs a save and a restore each, besides asking for the version."""
    programs = Counter(argv[0] for argv, _ in kernel_results["nft", "fifty-services", 1]["writes"])

    assert programs["iptables-nft-restore"] == programs["ip6tables-nft-restore"] == 1
    assert programs.total() <= 6
