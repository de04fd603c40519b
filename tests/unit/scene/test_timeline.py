"""What is shown at fixed moments of a journey."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kplab.model.journey import Journey, Skip
from kplab.model.topology import Topology
from kplab.scene.schedule import HOP, MOVE, PASS, RULE, is_passed
from kplab.scene.timeline import Timeline
from kplab.trace.file import read_trace
from kplab.trace.journey import tell

pytestmark = pytest.mark.unit

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"

SERVICES_HOP = 4
"""Hop (0-based) in KUBE-SERVICES: eleven rules skipped, the twelfth fires."""


def hop_of(timeline: Timeline, kind: str) -> int:
    """Return the first hop (0-based) of a kind."""
    return next(i for i, hop in enumerate(timeline.journey.hops) if hop.kind == kind)


def test_a_plain_hop_lasts_0_8_s_and_a_tried_rule_0_15_s(timeline: Timeline) -> None:
    """The pace is one that an eye can follow."""
    assert timeline.start_of(1) - timeline.start_of(0) == pytest.approx(HOP)
    first = timeline.start_of(SERVICES_HOP)

    tried = [timeline.at(first + n * RULE).walk for n in range(3)]

    assert [walk.tried for walk in tried if walk] == [2, 3, 4]


def test_what_leaves_the_packet_as_it_was_passes_quicker(timeline: Timeline) -> None:
    """Filter's chains and entered hooks take a fraction of a hop; whatever changes the packet, or ends it, a whole one.

    And so a SYN to another node and its answer, 69 hops with kube-proxy's own filter chains, is over in 25 s.
    """
    hops = timeline.journey.hops
    length = {i: timeline.start_of(i + 1) - timeline.start_of(i) for i in range(len(hops) - 1)}
    for i in length:
        if hops[i].table == "filter" or hops[i].kind == "hook":
            assert length[i] <= 2 * PASS, hops[i]
        if hops[i].kind in {"sent", "DNAT", "reverse NAT", "delivered"}:
            assert length[i] == pytest.approx(HOP), hops[i]
        if hops[i].kind == "rule" and hops[i].table == "nat" and hops[i].verdict != "return":
            assert length[i] > PASS, hops[i]
    recording = read_trace(RECORDINGS / "lab-nft-other-node.kptrace")
    long = Timeline(tell(recording), recording.topology)
    assert len(long.marks) == 69
    assert 15 < long.duration < 25


def test_a_drop_and_a_disagreement_are_never_passed_over(journey: Journey) -> None:
    """In whatever table they are."""
    chain = next(hop for hop in journey.hops if hop.table == "filter")
    assert is_passed(chain)

    for change in ({"verdict": "drop"}, {"verdict": "policy drop"}, {"disagreement": "it cannot match"}):
        assert not is_passed(msgspec.structs.replace(chain, **change))


def test_the_same_moment_gives_the_same_frame(timeline: Timeline) -> None:
    """A frame is a function of the journey and the time, in whatever order moments are asked for."""
    forth = [timeline.at(t / 7) for t in range(200)]
    back = [timeline.at(t / 7) for t in reversed(range(200))]

    assert forth == list(reversed(back))


def test_moments_outside_the_journey_are_its_ends(timeline: Timeline) -> None:
    """Before the beginning and after the end nothing breaks."""
    assert timeline.at(-5) == timeline.at(0)
    assert timeline.at(timeline.duration + 9) == timeline.at(timeline.duration)


def test_skipped_rules_after_the_third_share_one_line(timeline: Timeline) -> None:
    """A long chain is told in five lines: three skipped, the rest folded, the one that fired."""
    walk = timeline.at(timeline.rest_of(SERVICES_HOP)).walk

    assert walk is not None
    lines = [line for line in walk.lines if line.chain == "KUBE-SERVICES"]
    assert [(line.mark, line.number, line.rule, line.note) for line in lines] == [
        ("skip", 1, "dst 10.96.0.10 udp dport 53", "dst 10.96.0.10 is not 10.96.0.42"),
        ("skip", 2, "dst 10.96.0.10 tcp dport 53", "dst 10.96.0.10 is not 10.96.0.42"),
        ("skip", 3, "dst 10.96.0.1 tcp dport 443", "dst 10.96.0.1 is not 10.96.0.42"),
        ("fold", 4, "8 more", "other destinations"),
        ("match", 12, "dst 10.96.0.42 tcp dport 80", "→ KUBE-SVC-XRY76EGRC3BSCIIJ"),
    ]
    assert walk.path == ("PREROUTING", "KUBE-SERVICES")
    assert walk.tried == 13


def test_four_thousand_skipped_rules_take_no_longer_than_nine(journey: Journey, topology: Topology) -> None:
    """A long skip is compressed: its count climbs, its time does not."""
    skips = tuple(Skip(f"-A KUBE-SERVICES -d 10.97.{i >> 8}.{i & 255}/32 -j X", "dst differs") for i in range(3997))
    hop = msgspec.structs.replace(journey.hops[SERVICES_HOP], skipped=skips, tried=3998, rule_number=3998)
    long = msgspec.structs.replace(journey, hops=(*journey.hops[:4], hop, *journey.hops[5:]))

    timeline = Timeline(long, topology)
    counts = [timeline.at(timeline.start_of(4) + 3 * RULE + t / 100).walk for t in range(0, 50, 6)]

    assert timeline.duration == pytest.approx(Timeline(journey, topology).duration)
    numbers = [walk.lines[-1].count for walk in counts if walk]
    assert numbers == sorted(numbers)
    assert numbers[0] < 100
    assert numbers[-1] == 3994
    whole = timeline.at(timeline.rest_of(4)).walk
    assert whole is not None
    assert [line.rule for line in whole.lines if line.mark == "fold"] == ["3,994 more"]


def test_the_dnat_rule_is_told_once(timeline: Timeline) -> None:
    """The rule's hop and the rewrite's hop speak of one rule; the walk shows it once."""
    walk = timeline.at(timeline.rest_of(hop_of(timeline, "DNAT"))).walk

    assert walk is not None
    assert [line.note for line in walk.lines].count("DNAT to 10.244.2.10:8080") == 1
    assert walk.running


def test_the_last_walk_stays_in_sight_and_says_that_it_is_over(timeline: Timeline) -> None:
    """While no rule is tried, the walk before is shown as the last one."""
    walk = timeline.at(timeline.rest_of(hop_of(timeline, "DNAT") + 1)).walk

    assert walk is not None
    assert (walk.table, walk.hook, walk.running) == ("nat", "PREROUTING", False)


def test_headers_show_the_old_value_beside_the_new_one(timeline: Timeline) -> None:
    """Only what the hop rewrote is marked as changed."""
    headers = timeline.at(timeline.rest_of(hop_of(timeline, "DNAT"))).headers

    assert [(h.name, h.was, h.value) for h in headers if h.changed] == [("dst", "10.96.0.42:80", "10.244.2.10:8080")]


def test_the_packet_crosses_the_underlay_in_two_halves(timeline: Timeline) -> None:
    """Two frames, node-a to the bridge and the bridge to node-b, are one way between two boxes."""
    out = next(i for i, hop in enumerate(timeline.journey.hops) if hop.peer == "underlay")
    places = [timeline.at(timeline.start_of(hop) + MOVE / 2).map.place for hop in (out, out + 1)]

    assert [(p.station, p.toward, round(p.progress, 2)) for p in places if p] == [
        ("node-a", "node-b", 0.25),
        ("node-a", "node-b", 0.75),
    ]
    assert [(e.left, e.right, e.via) for e in timeline.board.edges] == [
        ("client", "node-a", None),
        ("node-a", "node-b", "underlay"),
        ("node-b", "web-3", None),
    ]


def test_both_directions_are_in_sight(timeline: Timeline) -> None:
    """On the way back the way out is still drawn, and at the beginning all of the way is drawn as lying ahead."""
    start, end = timeline.at(0).map, timeline.at(timeline.duration).map

    assert len(start.ahead) == 6
    assert {(lane.origin, lane.target, lane.direction) for lane in end.lanes} >= {
        ("client", "node-a", "request"),
        ("node-a", "client", "reply"),
    }


def test_conntrack_lines_appear_and_change_with_the_hops(timeline: Timeline) -> None:
    """An entry is new in its own hop, only there afterwards, and changed when the reply comes."""
    hops = [i for i, hop in enumerate(timeline.journey.hops) if hop.conntrack]
    new, update = hops

    assert timeline.at(timeline.rest_of(new - 1)).conntrack == ()
    told = [timeline.at(timeline.rest_of(i)).conntrack for i in (new, new + 1, update)]
    assert [[(line.mark, line.state) for line in lines] for lines in told] == [
        [("new", "SYN_SENT")],
        [("", "SYN_SENT")],
        [("changed", "SYN_RECV")],
    ]


def test_marks_tell_evidence_and_direction(timeline: Timeline) -> None:
    """One mark a hop; request and reply can be parted."""
    assert len(timeline.marks) == len(timeline.journey.hops)
    turn = next(mark.hop for mark in timeline.marks if mark.direction == "reply")
    assert timeline.journey.hops[turn].kind == "reply"
    assert {mark.evidence for mark in timeline.marks} == {"seen", "rebuilt", "modelled"}


def test_stepping_by_hop_and_by_rule_comes_back_to_where_it_was(timeline: Timeline) -> None:
    """A step back undoes a step forward, everywhere but at the ends."""
    t = timeline.rest_of(0)
    for _ in range(20):
        onward = timeline.next_rule(t)
        assert onward > t
        assert timeline.previous_rule(onward) == t
        t = onward
    hop = timeline.hop_at(t)
    assert timeline.hop_at(timeline.next_hop(timeline.rest_of(hop))) == hop + 1
    assert timeline.hop_at(timeline.previous_hop(timeline.rest_of(hop))) == hop - 1
    assert timeline.next_hop(timeline.duration) == timeline.duration


def test_a_step_forward_always_shows_something_new(timeline: Timeline) -> None:
    """From the very beginning a step leads to the second hop; from the middle of a chain to that chain's end."""
    assert timeline.hop_at(timeline.next_hop(0.0)) == 1
    assert timeline.hop_at(timeline.next_rule(0.0)) == 1
    assert timeline.next_hop(timeline.start_of(SERVICES_HOP)) == timeline.rest_of(SERVICES_HOP)


def test_reduced_motion_shows_only_settled_moments(timeline: Timeline) -> None:
    """Between two stops nothing changes."""
    shown = {timeline.settled(t / 30) for t in range(int(timeline.duration * 30))}
    stops, t = {timeline.settled(0.0)}, 0.0
    while timeline.next_rule(t) > t:
        t = timeline.next_rule(t)
        stops.add(t)

    assert shown <= stops


def test_a_disagreement_is_said_in_every_frame(journey: Journey, topology: Topology) -> None:
    """What the model got wrong is never hidden, wherever the play stands."""
    forged = msgspec.structs.replace(journey.hops[6], disagreement="the rule fired, and the model says it cannot")
    timeline = Timeline(msgspec.structs.replace(journey, hops=(*journey.hops[:6], forged, *journey.hops[7:])), topology)

    for t in (0.0, timeline.duration):
        (banner,) = timeline.at(t).banners
        assert banner.text == "model and kernel disagree at hop 7: the rule fired, and the model says it cannot"
    assert [mark.hop for mark in timeline.marks if mark.disagreement] == [6]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (12, "12 events were lost, this story is incomplete"),
        (1, "1 event was lost, this story is incomplete"),
        (-1, "events were lost, this story is incomplete"),
    ],
)
def test_lost_events_are_counted_in_words(journey: Journey, topology: Topology, lost: int, said: str) -> None:
    """A loss is said with its number, or without one where the kernel gave none."""
    timeline = Timeline(msgspec.structs.replace(journey, lost=lost, complete=False), topology)

    assert [banner.text for banner in timeline.at(0).banners] == [said]


def test_a_journey_without_hops_has_one_frame(journey: Journey, topology: Topology) -> None:
    """Nothing was seen: the map is there, the packet is not."""
    timeline = Timeline(msgspec.structs.replace(journey, hops=()), topology)

    frame = timeline.at(3.0)

    assert timeline.duration == 0.0
    assert (frame.hop, frame.map.place) == (-1, None)
    assert [station.name for station in frame.board.stations] == ["client", "node-a", "node-b"]
