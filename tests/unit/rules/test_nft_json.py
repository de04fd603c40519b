"""Reading `nft -a -j list ruleset`."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from kplab.errors import UsageError
from kplab.model.nft import Constant, Element, NftRuleset, NotUnderstood, Prefix, Verdict
from kplab.rules.nft_json import parse_nft

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
LISTINGS = sorted(GOLDEN.glob("*/nftables*.nft.json"))
WEB = GOLDEN / "clusterip-3ep" / "nftables.nft.json"


def rule_of(*expr: Any, **fields: Any) -> str:
    """A listing of one rule."""
    body = {"family": "ip", "table": "t", "chain": "c", "handle": 4, "expr": list(expr), **fields}
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, {"rule": body}]})


def statements_of(text: str) -> tuple[Any, ...]:
    """Return the statements of a listing's one rule."""
    ((rule,),) = [chain.rules for table in parse_nft(text).tables.values() for chain in table.chains.values()]
    return rule.statements


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_rule_of_kube_proxy_is_understood_and_prints_as_nft_prints_it(listing: Path) -> None:
    """Nothing in the golden dumps is beyond us, and a rule's text is the one that `nft list ruleset` gives."""
    ruleset = parse_nft(listing.read_text())
    printed = {line.strip() for line in listing.with_suffix("").read_text().splitlines()}
    rules = [rule for table in ruleset.tables.values() for chain in table.chains.values() for rule in chain.rules]

    assert len(rules) > 20
    assert [rule.text for rule in rules if rule.text not in printed] == []
    assert [rule.text for rule in rules if "NotUnderstood" in repr(rule.statements)] == []


def test_base_chains_keep_hook_and_priority() -> None:
    """They say when a chain is walked, and in which order."""
    table = parse_nft(WEB.read_text()).table("ip", "kube-proxy")
    assert table is not None
    bases = {c.name: (c.type, c.hook, c.priority, c.policy) for c in table.chains.values() if c.hook}

    assert bases["filter-prerouting-pre-dnat"] == ("filter", "prerouting", -110, "accept")
    assert bases["nat-postrouting"] == ("nat", "postrouting", 100, "accept")
    assert len(bases) == 8


def test_a_maps_element_is_found_by_its_key() -> None:
    """With its verdict and its text as nft lists it."""
    table = parse_nft(WEB.read_text()).table("ip", "kube-proxy")
    assert table is not None
    services = table.sets["service-ips"]

    found = services.elements.exact(("10.96.0.20", "tcp", 80))

    assert found == Element(
        key=(Constant("10.96.0.20"), Constant("tcp"), Constant(80)),
        value=Verdict("goto", "service-WUFCSIHR-demo/web/tcp/"),
        text="10.96.0.20 . tcp . 80 : goto service-WUFCSIHR-demo/web/tcp/",
    )
    assert services.elements.exact(("10.96.0.20", "udp", 80)) is None
    assert (services.values, services.type) == ("verdict", ("ipv4_addr", "inet_proto", "inet_service"))


def test_an_elements_comment_and_time_are_not_its_key() -> None:
    """`{"elem": {"val": …, "expires": …}}` is found like a bare value; a prefix is tried in turn."""
    elem = [
        {"elem": {"val": "10.0.0.1", "comment": "one", "timeout": 30, "expires": 12}},
        {"prefix": {"addr": "10.2.0.0", "len": 16}},
    ]
    body = {"family": "ip", "table": "t", "name": "s", "type": "ipv4_addr", "flags": ["interval"], "elem": elem}
    table = parse_nft(json.dumps({"nftables": [{"set": body}]})).table("ip", "t")
    assert table is not None
    elements = table.sets["s"].elements

    found = elements.exact(("10.0.0.1",))

    assert found is not None
    assert (found.comment, found.text) == ("one", '10.0.0.1 comment "one"')
    assert [type(each.key[0]) for each in elements.loose()] == [Prefix]


@pytest.mark.parametrize(
    "statement",
    [
        {"limit": {"rate": 5, "per": "second"}},
        {"match": {"op": "==", "left": {"exthdr": {"name": "frag"}}, "right": 1}},
        {"match": {"op": "==", "left": {"ct": {"key": "saddr", "dir": "original"}}, "right": "10.0.0.1"}},
        {"match": {"op": "??", "left": {"meta": {"key": "mark"}}, "right": 1}},
        {"vmap": {"key": {"meta": {"key": "mark"}}, "data": 7}},
        {"jump": {}},
        {"tproxy": {"port": 1}},
        7,
        None,
        {},
    ],
)
def test_what_is_not_known_is_kept_as_its_json(statement: Any) -> None:
    """It is named, never guessed."""
    (read,) = statements_of(rule_of(statement))

    assert "NotUnderstood" in repr(read)
    if isinstance(read, NotUnderstood):
        assert json.loads(read.text) == statement


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", '{"nftables": 3}', '{"nftables": [{"rule": {"family": "ip"}}]}', '{"chain": 4}', "[" * 100_000],
)
def test_what_is_no_listing_is_refused(text: str) -> None:
    """One clear error with what to give instead."""
    with pytest.raises(UsageError, match="nft -a -j list ruleset"):
        parse_nft(text)


def test_no_text_holds_no_tables() -> None:
    """A node without rules of nf_tables' own."""
    assert parse_nft("") == NftRuleset({})


def test_any_json_is_a_ruleset_or_one_clear_error() -> None:
    """Nothing that a listing may hold breaks the reader, nor the reading of rules and elements after it."""
    pool = [json.loads(line) for path in LISTINGS[:6] for line in path.read_text().splitlines()]
    draw = random.Random(7)  # noqa: S311 -- the same broken listings each time
    read = 0

    for _ in range(1500):
        broken = _broken(draw.choice(pool), draw, 0.08)
        try:
            ruleset = parse_nft(json.dumps([broken]))
        except UsageError:
            continue
        for table in ruleset.tables.values():
            for chain in table.chains.values():
                read += sum(len(rule.statements) + len(rule.text) for rule in chain.rules)
            for each in table.sets.values():
                read += sum(len(element.text) for element in each.elements)
                assert each.elements.exact(("10.96.0.42", "tcp", 80)) is None

    assert read > 1000


def _broken(thing: Any, draw: random.Random, chance: float) -> Any:
    """Return JSON with some of its parts replaced by others that do not belong there."""
    if draw.random() < chance:
        return draw.choice([None, True, 7, -1.5, "x", "@y", [], {}, [1, 2, 3], {"set": 5}, {"concat": [[]]}])
    if isinstance(thing, dict):
        return {name: _broken(value, draw, chance) for name, value in thing.items()}
    if isinstance(thing, list):
        return [_broken(value, draw, chance) for value in thing]
    return thing


def test_in_a_map_of_24000_elements_the_one_that_is_asked_for_is_found() -> None:
    """4,000 Services with six addresses each: an element is only read when it is hit."""
    elem = [
        [{"concat": [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "tcp", 80]}, {"goto": {"target": f"service-{n}"}}]
        for n in range(24_000)
    ]
    body = {"family": "ip", "table": "t", "name": "m", "map": "verdict", "type": ["ipv4_addr"], "elem": elem}
    text = json.dumps({"nftables": [{"map": body}]})

    table = parse_nft(text).table("ip", "t")
    assert table is not None
    found = table.sets["m"].elements.exact(("10.0.93.191", "tcp", 80))

    assert (found and found.value, len(table.sets["m"].elements)) == (Verdict("goto", "service-23999"), 24_000)
