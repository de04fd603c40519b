"""The nftables compiler against what the real kube-proxy v1.36.2 sent to nft, scenario by scenario, step by step."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest

from kplab.model.cluster import Cluster, Family
from kplab.modes.changes import changed_services
from kplab.modes.nft_objects import NftElement, NftSet, element_line, table_words
from kplab.modes.nft_program import NftablesProgram, deletion, difference
from kplab.modes.nftables import compile_nftables
from kplab.modes.nftables_names import own_chains
from tests.unit.modes.golden import (
    FACTS,
    FAMILIES,
    GOLDEN,
    NODE,
    SCENARIOS,
    STEPS,
    commands,
    config_of,
    dump_path,
    previous_stem,
    state,
)

pytestmark = pytest.mark.unit

STEMS = [(scenario, "manifest") for scenario in SCENARIOS] + STEPS


def compiled(
    scenario: str, cluster: Cluster, family: Family, previous: NftablesProgram | None = None
) -> NftablesProgram:
    """What we write for one state of a scenario."""
    return compile_nftables(cluster, config_of(scenario), NODE, family, FACTS, previous)


def transactions(scenario: str, stem: str) -> list[str]:
    """The texts that the real kube-proxy sent in a step, of both families."""
    given = [text for command, text in commands(scenario, "nftables", stem) if command == "nft -f -"]
    return ["" if text == "\n" else text for text in given]


def of_family(texts: list[str], family: Family) -> list[str]:
    """Those of one family; an empty one tells neither, and only IPv4 changes in the steps."""
    place = f" {table_words(family)}"
    return [text for text in texts if (place in text if text else family == 4)]


@dataclass(frozen=True)
class Meaning:
    """A transaction without the order of chains and elements, which means nothing."""

    rules: dict[str, list[str]]
    """Every chain's, in order."""
    others: list[str]
    """All other lines, sorted."""
    shape: list[tuple[str, str]] | None
    """What is done to what, in order; None where the order among Services is random."""


def meaning(text: str, *, shaped: bool) -> Meaning:
    """Take a transaction apart."""
    rules: dict[str, list[str]] = {}
    others, shape = [], []
    for line in text.splitlines():
        verb, what, _, _, name, *_ = line.split()
        shape.append((verb, what))
        if (verb, what) == ("add", "rule"):
            rules.setdefault(name, []).append(line)
        else:
            others.append(line)
    return Meaning(rules, sorted(others), shape if shaped else None)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_first_sync_is_what_kube_proxy_sent(scenario: str, family: Family) -> None:
    """The first transaction says the same; where at most one service port is written, byte for byte."""
    [sent] = of_family(transactions(scenario, "manifest"), family)
    program = compiled(scenario, state(scenario, "manifest"), family)
    text = program.text()
    assert meaning(text, shaped=False) == meaning(sent, shaped=False)
    if len(program.blocks) <= 1:
        assert text == sent


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_fixed_part_comes_first_and_in_order(scenario: str, family: Family) -> None:
    """With many Services too, everything before the first one's lines is equal line by line."""
    [sent] = of_family(transactions(scenario, "manifest"), family)
    program = compiled(scenario, state(scenario, "manifest"), family)
    fixed = fixed_lines(program)
    assert len(fixed) > len(program.frame)
    assert program.text().splitlines()[: len(fixed)] == fixed
    assert sent.splitlines()[: len(fixed)] == fixed


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_service_ports_are_written_one_after_the_other(scenario: str, family: Family) -> None:
    """A service port's lines stand together, in kube-proxy's own order, wherever it came in its own."""
    [sent] = of_family(transactions(scenario, "manifest"), family)
    program = compiled(scenario, state(scenario, "manifest"), family)
    # An element that two service ports have in common is written with the first of them.
    common = common_lines(program)
    lines = [line for line in sent.splitlines()[len(fixed_lines(program)) :] if line not in common]
    for block in program.blocks:
        alone = replace(program, blocks=(block,)).text().splitlines()[len(fixed_lines(program)) :]
        own = [line for line in alone if line not in common]
        start = lines.index(own[0])
        assert lines[start : start + len(own)] == own
        lines[start : start + len(own)] = []
    assert not lines


def fixed_lines(program: NftablesProgram) -> list[str]:
    """The lines of a first sync that do not depend on Services."""
    return replace(program, blocks=()).text().splitlines()


def common_lines(program: NftablesProgram) -> set[str]:
    """The elements that more than one service port has, as they are added."""
    elements = [w for block in program.blocks for w in block.opening if isinstance(w, NftElement)]
    return {element_line(w, table_words(program.family)) for w, count in Counter(elements).items() if count > 1}


def held_names(scenario: str, stem: str, family: Family, kind: str) -> set[str]:
    """The chains (or sets) that the kernel held after a step."""
    return {found["name"] for found in dumped(scenario, stem, family, kind)}


def dumped(scenario: str, stem: str, family: Family, kind: str) -> list[dict[str, Any]]:
    """The objects of one kind that the kernel held after a step."""
    lines = dump_path(scenario, "nftables", stem, "nft.json").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    ip = "ip" if family == 4 else "ip6"
    return [each[kind] for each in found if kind in each and each[kind]["family"] == ip]


def expected_syncs(scenario: str, stem: str, family: Family) -> Iterator[tuple[list[str], set[str]]]:
    """The orders in which a step's changes may reach kube-proxy: the texts that each gives, and the chains left.

    Services and EndpointSlices are watched apart: one may arrive, and be synced, before the other. And the
    second may ask for a sync that finds nothing left to do.
    """
    before, after = state(scenario, previous_stem(stem)), state(scenario, stem)
    services_first = replace(before, services=after.services)
    slices_first = replace(before, endpoint_slices=after.endpoint_slices)
    start = compiled(scenario, before, family)
    for way in ([after], [after, after], [services_first, after], [slices_first, after]):
        there = set(own_chains(held_names(scenario, previous_stem(stem), family, "chain")))
        old, held = before, start
        texts: list[str] = []
        if any(changed_services(a, b, family) for a, b in pairwise([before, *way])):
            stale = there - start.chain_names()
            texts += [deletion(family, stale).text()] if stale else []
            there -= stale
        for new in way:
            changed = changed_services(old, new, family)
            if not changed and (new != old or family == 6):
                continue
            program = compiled(scenario, new, family, held)
            done = difference(held, program, changed=changed, chains=there)
            texts.append(done.text())
            assert set(done.stale) == there - program.chain_names()
            there |= program.chain_names()
            old, held = new, program
        yield texts, there


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("scenario", "stem"), STEPS)
def test_later_syncs_send_what_kube_proxy_sent(scenario: str, stem: str, family: Family) -> None:
    """A change sends changed elements and changed Services' chains only; stale chains go in a later sync."""
    sent = [meaning(text, shaped=True) for text in of_family(transactions(scenario, stem), family)]
    ways = [
        ([meaning(text, shaped=True) for text in texts], chains)
        for texts, chains in expected_syncs(scenario, stem, family)
    ]
    assert (sent, set(own_chains(held_names(scenario, stem, family, "chain")))) in ways


def test_later_syncs_are_not_always_empty() -> None:
    """Every step but those of IPv6 has something to compare."""
    for scenario, stem in STEPS:
        assert any(of_family(transactions(scenario, stem), 4)), (scenario, stem)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("scenario", "stem"), STEMS)
def test_the_table_is_what_the_kernel_held(scenario: str, stem: str, family: Family) -> None:
    """Chains, their hooks and numbers of rules, sets, maps and elements are those of the kernel's own dump."""
    view = compiled(scenario, state(scenario, stem), family).view()
    chains = {c["name"]: c for c in dumped(scenario, stem, family, "chain")}
    rules = [rule["chain"] for rule in dumped(scenario, stem, family, "rule")]
    assert {name: rules.count(name) for name in chains if rules.count(name)} == {
        name: len(held) for name, held in view.rules.items()
    }
    for chain in view.chains.values():
        held = chains[chain.name]
        hook = (held["type"], held["hook"], held["prio"]) if "hook" in held else None
        assert chain.hook == hook
    sets = {s["name"]: s for kind in ("set", "map") for s in dumped(scenario, stem, family, kind)}
    assert set(sets) == set(view.sets)
    for name, expected in view.sets.items():
        assert described(expected) == listed_set(sets[name])
        elements = {plain_element(name, element) for element in sets[name].get("elem", ())}
        assert set(view.elements[name].values()) == elements


def described(expected: NftSet) -> tuple[object, ...]:
    """What a listing tells of a set."""
    return expected.kind, expected.type, expected.comment, expected.timeout_seconds


def listed_set(held: dict[str, Any]) -> tuple[object, ...]:
    """The same of a set in `nft -j list`."""
    types = held["type"] if isinstance(held["type"], list) else [held["type"]]
    verdict = " : verdict" if "map" in held else ""
    kind = "map" if "map" in held else "set"
    return kind, " . ".join(types) + verdict, held.get("comment", ""), held.get("timeout")


def plain_element(holder: str, listed: Any) -> NftElement:
    """An element of `nft -j list` as we write it."""
    key, value = listed if isinstance(listed, list) else (listed, None)
    comment = ""
    if isinstance(key, dict) and "elem" in key:
        comment, key = key["elem"].get("comment", ""), key["elem"]["val"]
    text = " . ".join(str(part) for part in key["concat"]) if isinstance(key, dict) else str(key)
    verdict = ""
    if value is not None:
        ((verb, body),) = value.items()
        verdict = f"{verb} {body['target']}" if body else verb
    return NftElement(holder, text, verdict, comment)


def test_every_scenario_is_compared() -> None:
    """Each scenario has both families' first sync and nothing else; every folder is a scenario."""
    assert len(SCENARIOS) >= 47
    assert len(STEPS) >= 8
    for scenario in SCENARIOS:
        sent = transactions(scenario, "manifest")
        assert [len(of_family(sent, family)) for family in FAMILIES] == [1, 1], scenario
        assert len(sent) == 2, scenario
    for scenario, stem in STEPS:
        sent = transactions(scenario, stem)
        assert sum(len(of_family(sent, family)) for family in FAMILIES) == len(sent), (scenario, stem)
    folders = {path.parent.name for path in GOLDEN.glob("*/nftables*.writes")}
    assert folders == set(SCENARIOS)
