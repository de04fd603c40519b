"""The iptables compiler against what the real kube-proxy v1.36.2 handed to iptables-restore, scenario by scenario."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kplab.model.cluster import Cluster, Family
from kplab.model.config import ProxyConfig, parse_config
from kplab.model.loader import load_cluster
from kplab.modes.changes import changed_services
from kplab.modes.facts import NodeFacts
from kplab.modes.iptables import compile_iptables
from kplab.modes.names import OWN_PREFIXES
from kplab.modes.program import IptablesProgram

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
BACKENDS = ("nft", "legacy")
FAMILIES: tuple[Family, ...] = (4, 6)
RESTORE = {4: "iptables-restore", 6: "ip6tables-restore"}
NODE = "node-a"
FACTS = NodeFacts(addresses=("127.0.0.1", "192.168.50.10", "::1", "fd00:192:168:50::10"))
BASE: dict[str, Any] = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "clusterCIDR": "10.244.0.0/16",
    "detectLocalMode": "ClusterCIDR",
    "hostnameOverride": NODE,
    "bindAddress": "0.0.0.0",
    "healthzBindAddress": "127.0.0.1:10256",
    "metricsBindAddress": "127.0.0.1:10249",
    "conntrack": {"maxPerCore": 0, "min": 0},
    "oomScoreAdj": 0,
    "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    "ipvs": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
}
SHARED = {"KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL"}
SCENARIOS = sorted(path.parent.name for path in GOLDEN.glob("*/manifest.yaml"))
STEPS = sorted((path.parent.name, path.stem) for path in GOLDEN.glob("*/step*.yaml"))


def config_of(scenario: str) -> ProxyConfig:
    """The configuration that a scenario ran with: the base, and what its config.json changes."""
    path = GOLDEN / scenario / "config.json"
    changes = json.loads(path.read_text()) if path.exists() else {}
    merged = dict(BASE)
    for name, value in changes.items():
        if not name.startswith("_"):
            merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    return parse_config(json.dumps(merged, indent=1), f"{scenario}/config.json")


def compiled(scenario: str, stem: str, family: Family) -> IptablesProgram:
    """What we write for one state of a scenario."""
    return compile_iptables(state(scenario, stem), config_of(scenario), NODE, family, FACTS)


def state(scenario: str, stem: str) -> Cluster:
    """The cluster of one step."""
    return load_cluster(GOLDEN / scenario / f"{stem}.yaml")


def commands(scenario: str, backend: str, stem: str) -> Iterator[tuple[str, str]]:
    """Every command of a step that changed the kernel, with its standard input."""
    part = "" if stem == "manifest" else f".{stem}"
    text = (GOLDEN / scenario / f"iptables-{backend}{part}.writes").read_text()
    for piece in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, given = piece.partition("\n")
        yield command, given


def restores(scenario: str, backend: str, stem: str, family: Family) -> list[str]:
    """The texts that the real kube-proxy gave to iptables-restore in a step."""
    program = RESTORE[family]
    return [given for command, given in commands(scenario, backend, stem) if command.split()[0] == program]


@dataclass(frozen=True)
class Meaning:
    """A restore text without the orders that mean nothing."""

    chains: dict[str, frozenset[str]]
    fixed_chains: dict[str, list[str]]
    rules: dict[tuple[str, str], list[str]]
    """Of chains whose order is fixed."""
    shared: dict[tuple[str, str, str], list[str]]
    """Of chains that all Services write to: by table, chain and service port."""
    deleted: frozenset[str]
    last: str
    """The last rule of nat, after all deletions."""


def meaning(text: str) -> Meaning:
    """Take a restore text apart."""
    chains: dict[str, list[str]] = {}
    found = Meaning({}, {}, {}, {}, frozenset(), "")
    deleted: list[str] = []
    table = last = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            chains.setdefault(table, []).append(line)
        elif line.startswith("-X "):
            deleted.append(line[3:])
        elif line.startswith("-A "):
            last = line
            chain = line.split()[1]
            owner = re.search(r'--comment "?(?:other traffic to )?([^\s"]+)', line)
            if chain in SHARED and owner:
                found.shared.setdefault((table, chain, owner[1]), []).append(line)
            else:
                found.rules.setdefault((table, chain), []).append(line)
        else:
            assert line == "COMMIT"
    fixed = {
        name: [c for c in lines if not c.startswith(tuple(f":{p}" for p in OWN_PREFIXES))]
        for name, lines in chains.items()
    }
    sets = {name: frozenset(lines) for name, lines in chains.items()}
    return replace(found, chains=sets, fixed_chains=fixed, deleted=frozenset(deleted), last=last)


def owners(program: IptablesProgram) -> int:
    """How many service ports have rules: with one, kube-proxy's order is not random."""
    return len({block.owner for block in program.blocks})


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_first_sync_is_what_kube_proxy_wrote(scenario: str, backend: str, family: Family) -> None:
    """The text of the first sync says the same; where at most one Service port is written, byte for byte."""
    written = restores(scenario, backend, "manifest", family)
    program = compiled(scenario, "manifest", family)
    text = program.text()
    assert meaning(text) == meaning(written[0])
    if owners(program) <= 1:
        assert text == written[0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_jumps_are_ensured_in_kube_proxys_order(scenario: str, backend: str) -> None:
    """Each family's `iptables -C` commands are our jumps, in the same order."""
    for family in FAMILIES:
        name = "iptables" if family == 4 else "ip6tables"
        ran = [command for command, _ in commands(scenario, backend, "manifest")]
        checks = [c for c in ran if c.split()[0] == name and " -C " in c]
        jumps = compiled(scenario, "manifest", family).jumps
        ours = [
            " ".join([name, "-w 5 -C", jump.source, "-t", jump.table, *jump.arguments, "-j", jump.target])
            for jump in jumps
        ]
        assert checks == ours


def previous_stem(stem: str) -> str:
    """The state before a step."""
    number = int(stem.removeprefix("step"))
    return "manifest" if number == 2 else f"step{number - 1}"


def nat_chains(program: IptablesProgram) -> set[str]:
    """Every chain of a program's nat table."""
    return {chain.name for table in program.tables if table.name == "nat" for chain in table.chains}


def expected_texts(scenario: str, stem: str, family: Family) -> Iterable[list[str]]:
    """The orders in which a step's changes may reach kube-proxy, and the syncs that each gives.

    Services and EndpointSlices are watched apart: one may arrive, and be synced, before the other.
    """
    before, after = state(scenario, previous_stem(stem)), state(scenario, stem)
    services_first = replace(before, services=after.services)
    slices_first = replace(before, endpoint_slices=after.endpoint_slices)
    for way in ([before, after], [before, services_first, after], [before, slices_first, after]):
        texts = []
        for old, new in pairwise(way):
            changed = changed_services(old, new, family)
            if not changed:
                continue
            config = config_of(scenario)
            held = compile_iptables(old, config, NODE, family, FACTS)
            program = compile_iptables(new, config, NODE, family, FACTS, held)
            texts.append(program.text(changed=changed, stale=nat_chains(held) - nat_chains(program)))
        yield texts


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("scenario", "stem"), STEPS)
def test_later_syncs_are_partial_as_kube_proxys_are(scenario: str, stem: str, backend: str, family: Family) -> None:
    """A change writes the chains of changed Services only, and deletes those that nothing uses any more."""
    written = [meaning(text) for text in restores(scenario, backend, stem, family)]
    ways = [[meaning(text) for text in texts] for texts in expected_texts(scenario, stem, family)]
    assert written in ways


def test_every_scenario_is_compared() -> None:
    """Each scenario has both back-ends' and both families' first sync; each later step, both back-ends'."""
    assert len(SCENARIOS) >= 47
    assert len(STEPS) >= 8
    lacking = [
        (scenario, backend, family)
        for scenario in SCENARIOS
        for backend in BACKENDS
        for family in FAMILIES
        if not restores(scenario, backend, "manifest", family)
    ]
    assert not lacking
    folders = {path.name for path in GOLDEN.iterdir() if path.is_dir()}
    assert folders == set(SCENARIOS)
