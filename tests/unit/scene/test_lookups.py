"""Lookups, IPVS's choices, socket calls and proxy processes in time, in the walk and on the map."""

from __future__ import annotations

import msgspec
import pytest

from kplab.model.journey import Hop, IpvsChoice, Journey, Lookup, RealServer
from kplab.model.topology import Topology
from kplab.scene.frame import KeyField
from kplab.scene.lookups import answer_of, counted, key_fields
from kplab.scene.schedule import HOP
from kplab.scene.timeline import Timeline, label_of

pytestmark = pytest.mark.unit

LOOKUP = Lookup(
    "service-ips",
    "ip daddr . meta l4proto . th dport = 10.96.0.42 . tcp . 80",
    "10.96.0.42 . tcp . 80 : goto service-XRY76EGR-demo/web/tcp/http",
    24_000,
)
CHOICE = IpvsChoice(
    "TCP 10.96.0.42:80", "rr", (RealServer("10.244.1.10:8080", 1, 2, 2), RealServer("10.244.2.10:8080", 1, 1, 2)),
    "10.244.2.10:8080",
)  # fmt: skip


def with_hops(journey: Journey, *fresh: Hop) -> Journey:
    """Return the journey with other hops after its fourth."""
    return msgspec.structs.replace(journey, hops=(*journey.hops[:4], *fresh, *journey.hops[5:]))


def made(journey: Journey, kind: str, **fields: object) -> Hop:
    """Return a hop of a kind in node-a, at the place of the fifth."""
    bare = msgspec.structs.replace(journey.hops[4], rule=None, rule_number=None, skipped=(), tried=0, verdict=None)
    return msgspec.structs.replace(bare, kind=kind, after=bare.before, **fields)


def test_a_key_is_taken_apart_field_by_field() -> None:
    """Names and values stand in pairs; a key that has no names is one field."""
    assert key_fields(LOOKUP.key) == (
        KeyField("ip daddr", "10.96.0.42"), KeyField("meta l4proto", "tcp"), KeyField("th dport", "80")
    )  # fmt: skip
    assert key_fields("10.96.0.42:80 TCP") == (KeyField("key", "10.96.0.42:80 TCP"),)
    assert key_fields("a . b = 1") == (KeyField("a . b", "1"),)


def test_the_number_of_elements_is_said_whatever_it_is() -> None:
    """One lookup, however many elements; an unknown number is not made up."""
    assert counted(LOOKUP) == "1 lookup among 24,000 elements"
    assert counted(Lookup("m", "k", None, 1)) == "1 lookup among 1 element"
    assert counted(Lookup("m", "k", None, 0)) == "1 lookup"
    assert answer_of(LOOKUP) == "→ goto service-XRY76EGR-demo/web/tcp/http"
    assert answer_of(Lookup("m", "k", None)) == "no element"


def test_a_lookup_stays_in_sight_as_the_last_one(journey: Journey, topology: Topology) -> None:
    """Before it there is none; afterwards it is shown as over."""
    timeline = Timeline(with_hops(journey, made(journey, "lookup", lookup=LOOKUP)), topology)

    before, here, after = (timeline.at(timeline.rest_of(hop)).asked for hop in (3, 4, 5))

    assert timeline.has_lookups
    assert before is None
    assert here is not None
    assert (here.here, here.lookup) == (True, LOOKUP)
    assert after is not None
    assert (after.here, after.lookup) == (False, LOOKUP)


def test_a_journey_without_lookups_says_so(timeline: Timeline) -> None:
    """And its frames hold none."""
    assert not timeline.has_lookups
    assert timeline.at(timeline.duration).asked is None


def test_a_lookup_is_a_line_of_the_walk_and_no_tried_rule(journey: Journey, topology: Topology) -> None:
    """With its key's values, what it leads to, and among how many; a rule that asks a map says it in its own line."""
    rule = "ip daddr . meta l4proto . th dport vmap @service-ips"
    asking = msgspec.structs.replace(
        made(journey, "rule", lookup=LOOKUP), rule=rule, rule_number=1, tried=1, table="kube-proxy"
    )
    alone = Timeline(with_hops(journey, made(journey, "lookup", lookup=LOOKUP)), topology)
    walk, ruled = alone.at(alone.rest_of(4)).walk, Timeline(with_hops(journey, asking), topology)
    told = ruled.at(ruled.rest_of(4)).walk

    assert walk is not None
    assert told is not None
    line = walk.lines[-1]
    assert (line.mark, line.rule) == ("lookup", "service-ips: 10.96.0.42 . tcp . 80")
    assert line.note == "→ goto service-XRY76EGR-demo/web/tcp/http (1 lookup among 24,000 elements)"
    assert walk.tried == 1
    assert told.lines[-1].rule == "ip daddr . meta l4proto . th dport"
    assert told.lines[-1].note == line.note


def test_a_rule_that_asks_a_set_keeps_its_verdict(journey: Journey, topology: Topology) -> None:
    """A set only says yes; where the packet goes is the rule's own word."""
    yes = Lookup("clients", "ip saddr = 10.244.1.5", "10.244.0.0/16", 2)
    hop = msgspec.structs.replace(
        made(journey, "rule", lookup=yes), rule="ip saddr @clients jump checks", rule_number=1, tried=1
    )
    timeline = Timeline(with_hops(journey, hop), topology)
    walk = timeline.at(timeline.rest_of(4)).walk

    assert walk is not None
    assert (walk.lines[-1].rule, walk.lines[-1].note) == (
        "ip saddr @clients", "→ checks (1 lookup among 2 elements)"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "label", "row"),
    [("IPVS", "IPVS's choice", "IPVS"), ("proxy", "kube-proxy", "kube-proxy"), ("socket", "socket call", "PREROUTING")],
)
def test_other_modes_hops_have_names_a_place_and_time_to_be_read(
    journey: Journey, topology: Topology, kind: str, label: str, row: str
) -> None:
    """A whole hop long, named in the timeline, with a row in the node's box where they are no hook of netfilter's."""
    hop = made(journey, kind, ipvs=CHOICE if kind == "IPVS" else None)
    timeline = Timeline(with_hops(journey, hop), topology)
    frame = timeline.at(timeline.rest_of(4))
    box = frame.board.station("node-a")

    assert timeline.start_of(5) - timeline.start_of(4) == pytest.approx(HOP)
    assert label_of(hop) == timeline.marks[4].label == label
    assert frame.map.place is not None
    assert frame.map.place.hook == row
    assert box is not None
    assert row in box.hooks
