"""Walking nf_tables' own rules: expressions, lookups, draws, and what is said where model and kernel differ."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kplab.model.journey import Lookup
from kplab.model.nft import NftTable
from kplab.model.packet import Headers
from kplab.rules.nft_json import parse_nft
from kplab.trace.match_outcome import MET, Unknowable, Unmet
from kplab.trace.match_state import NodeView
from kplab.trace.matching import Probe
from kplab.trace.nft_try import try_nft_rule
from kplab.trace.nft_types import NftWalk, Tried
from kplab.trace.nft_walk import walk_nft
from kplab.trace.walk_types import Hit

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
SYN = Headers(family=4, proto="tcp", src="10.244.1.5", dst="10.96.0.20", sport=41000, dport=80, flags="S")
PROBE = Probe(SYN, iif="veth-a", ct_state="new", ct_status=0, node=NodeView.read(["192.168.50.10"]))


def payload(protocol: str, name: str) -> dict[str, Any]:
    """A header's field."""
    return {"payload": {"protocol": protocol, "field": name}}


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    """A comparison."""
    return {"match": {"op": op, "left": left, "right": right}}


def tried(probe: Probe, *expr: Any, sets: tuple[dict[str, Any], ...] = ()) -> Tried:
    """Try a rule of these statements."""
    rule = {"family": "ip", "table": "t", "chain": "c", "handle": 1, "expr": list(expr)}
    listed = [*({"set": {"family": "ip", "table": "t", **each}} for each in sets), {"rule": rule}]
    table = parse_nft(json.dumps({"nftables": listed})).tables["ip", "t"]
    return try_nft_rule(table.chains["c"].rules[0], table.sets, probe)


MARK, STATE, STATUS = {"meta": {"key": "mark"}}, {"ct": {"key": "state"}}, {"ct": {"key": "status"}}
PREFIX = {"prefix": {"addr": "10.244.0.0", "len": 16}}
FIB = {"fib": {"flags": ["daddr"], "result": "type"}}
IIF = {"meta": {"key": "iifname"}}
FLAGS = {"&": [payload("tcp", "flags"), {"|": ["syn", "ack"]}]}


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (match(payload("ip", "saddr"), PREFIX), ""),
        (match(payload("ip", "saddr"), PREFIX, "!="), "source 10.244.1.5 is inside 10.244.0.0/16"),
        (match(payload("ip", "daddr"), PREFIX), "destination 10.96.0.20 is outside 10.244.0.0/16"),
        (match(payload("ip6", "daddr"), "fd00::1"), "it is an IPv4 packet"),
        (match({"meta": {"key": "l4proto"}}, "udp"), "proto is tcp, not udp"),
        (match(payload("udp", "dport"), 53), "proto is tcp, not udp"),
        (match(payload("th", "dport"), {"set": [80, 443]}), ""),
        (match(payload("th", "dport"), {"set": [{"range": [8000, 9000]}]}), "dport 80 is none of { 8000-9000 }"),
        (match(payload("tcp", "dport"), 1024, "<"), ""),
        (match(payload("tcp", "dport"), {"range": [81, 90]}), "dport is 80, not 81-90"),
        (match({"&": [MARK, 0x4000]}, 0, "!="), "mark lacks 0x4000"),
        (match(STATE, ["established", "related"], "in"), "ct state is new, not established,related"),
        (match(STATE, {"set": ["new", "untracked"]}), ""),
        (match(STATUS, "dnat", "in"), "ct status 0x0 lacks dnat"),
        (match(FIB, "local"), "the destination is unicast to this node, not local"),
        (match(IIF, "veth-*"), ""),
        (match(IIF, "cni0", "!="), ""),
        (match(IIF, "cni0"), "in interface is veth-a, not cni0"),
        (match(FLAGS, "syn"), ""),
    ],
)
def test_a_comparison_and_why_it_does_not_hold(statement: Any, reason: str) -> None:
    """The reason names the two values that differ."""
    outcome = tried(PROBE, statement, {"accept": None}).outcome

    if not reason:
        assert outcome is MET
    else:
        assert isinstance(outcome, Unmet)
        assert reason in outcome.reason


def test_a_fragment_has_no_port() -> None:
    """Asking for it ends the rule (NFT_BREAK), whatever it is compared with."""
    outcome = tried(replace(PROBE, headers=_fragment()), match(payload("th", "dport"), 80, "!=")).outcome

    assert outcome == Unmet("a fragment has no transport header")


def _fragment() -> Headers:
    return Headers(family=4, proto="udp", src="10.0.0.1", dst="10.0.0.2", fragment=True)


@pytest.mark.parametrize("statement", [{"limit": {"rate": 1}}, match({"exthdr": {"name": "frag"}}, 1)])
def test_what_has_no_model_cannot_be_known(statement: Any) -> None:
    """Neither a match nor none; the rest of the rule still may not hold."""
    assert isinstance(tried(PROBE, statement, {"accept": None}).outcome, Unknowable)
    assert isinstance(tried(PROBE, statement, match(payload("th", "dport"), 81)).outcome, Unmet)


def test_a_mark_set_before_a_match_that_fails_stays_set() -> None:
    """Statements take effect in their order (nft_do_chain)."""
    mangle = {"mangle": {"key": MARK, "value": {"|": [MARK, 0x4000]}}}

    assert tried(PROBE, mangle).probe.mark == 0x4000
    after = tried(PROBE, mangle, match(payload("th", "dport"), 81))
    assert (type(after.outcome), after.probe.mark) == (Unmet, 0x4000)


def test_a_set_with_prefixes_names_the_element_that_holds_the_packet() -> None:
    """An interval set is one lookup too."""
    clients = {"name": "clients", "type": "ipv4_addr", "elem": ["10.0.0.1", PREFIX]}
    found = tried(PROBE, match(payload("ip", "saddr"), "@clients"), sets=(clients,))

    assert found.outcome is MET
    assert found.lookups == (Lookup("clients", "ip saddr = 10.244.1.5", "10.244.0.0/16", 2),)


def table_of(scenario: str) -> NftTable:
    """A golden dump's IPv4 table, with handles as a live listing has them: by place, from 101 on."""
    objects = [json.loads(line) for line in (GOLDEN / scenario / "nftables.nft.json").read_text().splitlines()]
    for place, each in enumerate(objects):
        if "rule" in each:
            each["rule"]["handle"] = 101 + place
    table = parse_nft(json.dumps(objects)).table("ip", "kube-proxy")
    assert table is not None
    return table


def service(table: NftTable) -> str:
    """The name of the table's one service- chain."""
    return next(name for name in table.chains if name.startswith("service-") and "/" in name)


def walked(table: NftTable, base: str, *hits: Hit, probe: Probe = PROBE) -> NftWalk:
    """Walk the hits of one base chain."""
    return walk_nft(table, base, probe, hits)


def test_a_walk_rebuilds_the_lookup_that_the_trace_does_not_name() -> None:
    """The trace says "goto service-…" only; key and element come from the map, and rules passed over have reasons."""
    table = table_of("clusterip-3ep")
    chain = service(table)

    walk = walked(
        table,
        "nat-prerouting",
        Hit("nat-prerouting", 1, "rule", "jump services"),
        Hit("services", 2, "rule", f"goto {chain}"),
        Hit(chain, 1, "rule", "accept"),
    )

    jump, lookup, dnat = walk.segments
    assert (walk.verdict, walk.disagreements, walk.unfinished) == ("accept", (), None)
    assert [skip.reason for skip in lookup.skipped] == [
        "source 10.244.1.5 is inside 10.244.0.0/16 (the rule wants outside)"
    ]
    assert lookup.lookup == Lookup(
        "service-ips",
        "ip daddr . meta l4proto . th dport = 10.96.0.20 . tcp . 80",
        f"10.96.0.20 . tcp . 80 : goto {chain}",
        1,
    )
    assert dnat.choice is not None
    assert [dnat.choice.number_of(f"10.244.{n}:8080") for n in ("1.10", "1.11", "2.10", "9.9")] == [0, 1, 2, None]
    assert (jump.depth, lookup.depth, dnat.depth) == (0, 1, 2)


def test_a_chain_that_ends_shows_the_lookup_that_missed() -> None:
    """No element: the rule is passed over in silence, and the chain's end says what was asked."""
    walk = walked(
        table_of("clusterip-3ep"),
        "filter-prerouting-pre-dnat",
        Hit("filter-prerouting-pre-dnat", 1, "rule", "jump firewall-check"),
        Hit("firewall-check", None, "return", "continue"),
        Hit("filter-prerouting-pre-dnat", None, "return", "continue"),
        Hit("filter-prerouting-pre-dnat", None, "policy", "accept"),
    )

    ended = walk.segments[1]
    assert (walk.verdict, walk.disagreements) == ("policy accept", ())
    assert ended.lookup == Lookup("firewall-ips", "ip daddr . meta l4proto . th dport = 10.96.0.20 . tcp . 80", None, 0)


@pytest.mark.parametrize(
    ("hits", "says"),
    [
        ((Hit("services", 2, "rule", "goto elsewhere"),), "says goto elsewhere"),
        ((Hit("services", 3, "rule", "goto elsewhere"),), "does not match"),
        ((Hit("services", None, "return", "continue"),), "the model says that it matches; the kernel passed it over"),
        ((Hit("services", None, "rule", "accept", handle=999),), "it holds no such rule"),
        ((Hit("nowhere", 1, "rule", "accept"),), "reports chain nowhere"),
    ],
)
def test_where_model_and_kernel_differ_it_is_said(hits: tuple[Hit, ...], says: str) -> None:
    """Another verdict, a rule that must not match, one passed over that must, and a rule that nobody listed."""
    walk = walked(table_of("clusterip-3ep"), "nat-prerouting", Hit("nat-prerouting", 1, "rule", "jump services"), *hits)

    assert says in " ".join(each.text for each in walk.disagreements)
    assert any(segment.disagreements for segment in walk.segments)


def test_a_draw_that_leads_nowhere_is_a_disagreement() -> None:
    """ClientIP affinity: `numgen … vmap` is reported with its verdict, which must be one of the map's."""
    table = table_of("affinity-clientip")
    chain = service(table)
    draw = table.chains[chain].rules[-1]
    way = next(name for name in table.chains if name.startswith("endpoint-"))
    start = (
        Hit("nat-prerouting", 1, "rule", "jump services"),
        Hit("services", 2, "rule", f"goto {chain}"),
    )

    good = walked(table, "nat-prerouting", *start, Hit(chain, draw.number, "rule", f"goto {way}"))
    bad = walked(table, "nat-prerouting", *start, Hit(chain, draw.number, "rule", "goto reject-chain"))

    assert (good.disagreements, len(good.segments[-1].skipped)) == ((), draw.number - 1)
    assert good.segments[-1].choice is not None
    assert good.segments[-1].choice.number_of(f"goto {way}") in range(3)
    assert "its draw does not lead there" in bad.disagreements[0].text


def test_a_reject_is_a_drop_in_the_trace() -> None:
    """The kernel says "drop" of a reject; the walk says what the rule does."""
    walk = walked(
        table_of("clusterip-3ep"),
        "filter-forward",
        Hit("filter-forward", 2, "rule", "jump cluster-ips-check"),
        Hit("cluster-ips-check", 1, "rule", "drop"),
    )

    assert walk.verdict == "reject"
    assert [each.text for each in walk.disagreements] == [
        "filter-forward rule 1: the model says that it matches; the kernel passed it over."
    ]


def test_a_walk_through_a_map_of_24000_elements_is_quick() -> None:
    """One lookup, however many elements: the map is indexed by key once."""
    table = table_of("clusterip-3ep")
    elem = [[{"concat": [f"10.9.{n >> 8}.{n & 255}", "tcp", 80]}, {"goto": {"target": "x"}}] for n in range(24_000)]
    big = {"family": "ip", "table": "t", "name": "m", "map": "verdict", "type": ["ipv4_addr"], "elem": elem}
    held = parse_nft(json.dumps([{"map": big}])).tables["ip", "t"].sets["m"]
    table = NftTable(table.family, table.name, table.chains, {**table.sets, "no-endpoint-services": held})
    hits = (
        Hit("filter-forward", 1, "rule", "jump service-endpoints-check"),
        Hit("service-endpoints-check", None, "return", "continue"),
    )

    began = time.process_time()
    first = walked(table, "filter-forward", *hits)
    built = time.process_time() - began
    for _ in range(20):
        walked(table, "filter-forward", *hits)
    each = (time.process_time() - began - built) / 20

    lookup = first.segments[-1].lookup
    assert (lookup and lookup.elements, first.disagreements) == (24_000, ())
    assert each < built
