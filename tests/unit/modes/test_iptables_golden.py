"""The iptables compiler against what the real kube-proxy v1.36.2 handed to iptables-restore, scenario by scenario."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from kplab.model.cluster import Family
from kplab.modes.changes import changed_services
from kplab.modes.iptables import compile_iptables
from kplab.modes.names import OWN_PREFIXES
from kplab.modes.program import IptablesProgram
from tests.unit.modes.golden import (
    FACTS,
    FAMILIES,
    GOLDEN,
    NODE,
    SCENARIOS,
    STEPS,
    commands,
    config_of,
    previous_stem,
    state,
)

pytestmark = pytest.mark.unit

BACKENDS = ("nft", "legacy")
RESTORE = {4: "iptables-restore", 6: "ip6tables-restore"}
SHARED = {"KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL"}


def compiled(scenario: str, stem: str, family: Family) -> IptablesProgram:
    """What we write for one state of a scenario."""
    return compile_iptables(state(scenario, stem), config_of(scenario), NODE, family, FACTS)


def restores(scenario: str, backend: str, stem: str, family: Family) -> list[str]:
    """The texts that the real kube-proxy gave to iptables-restore in a step."""
    program = RESTORE[family]
    return [
        given for command, given in commands(scenario, f"iptables-{backend}", stem) if command.split()[0] == program
    ]


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
        ran = [command for command, _ in commands(scenario, f"iptables-{backend}", "manifest")]
        checks = [c for c in ran if c.split()[0] == name and " -C " in c]
        jumps = compiled(scenario, "manifest", family).jumps
        ours = [
            " ".join([name, "-w 5 -C", jump.source, "-t", jump.table, *jump.arguments, "-j", jump.target])
            for jump in jumps
        ]
        assert checks == ours


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
