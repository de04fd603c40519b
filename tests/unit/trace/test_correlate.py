"""The exchange is found in the events whatever the order in which the sources were read."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP

from kplab.model.journey import Hop, Journey
from kplab.trace.correlate import find_packets
from kplab.trace.events import CtChange, FrameSeen, KernelEvent, Lost, NftTrace, RulesetChanged, Sent
from kplab.trace.journey import tell
from kplab.trace.recording import Recording

pytestmark = pytest.mark.unit

Load = Callable[[str], Recording]
replace = msgspec.structs.replace


def interleaved(events: tuple[KernelEvent, ...], rng: random.Random) -> tuple[KernelEvent, ...]:
    """Mix the sources anew, each one's own order kept: a source is a kind of event in a namespace."""
    sources: dict[tuple[str, str], list[KernelEvent]] = defaultdict(list)
    for event in events:
        sources[(event.node, type(event.what).__name__)].append(event)
    queues = list(sources.values())
    mixed: list[KernelEvent] = []
    while queues:
        queue = rng.choice(queues)
        mixed.append(queue.pop(0))
        queues = [left for left in queues if left]
    return tuple(mixed)


@pytest.mark.parametrize("name", ["lab-nft-curl", "lab-legacy-nodeport-other", "lab-nft-no-endpoints-node"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rng=st.randoms(use_true_random=False))
def test_any_interleaving_gives_the_same_journey(load: Load, name: str, rng: random.Random) -> None:
    """Between sources no order is given, so none may matter."""
    recording = load(name)
    mixed = replace(recording, events=interleaved(recording.events, rng))

    assert tell(mixed) == tell(recording)


def timeless(journey: Journey) -> tuple[Hop, ...]:
    """Return the hops without their events' times."""
    return tuple(replace(hop, stamp=None) for hop in journey.hops)


@pytest.mark.parametrize("name", ["lab-nft-curl", "lab-nft-node-process", "lab-legacy-udp"])
def test_when_a_trace_was_read_does_not_matter(load: Load, name: str) -> None:
    """Only frames have the kernel's own time; all else may have been read seconds later."""
    recording = load(name)
    late = tuple(
        event if isinstance(event.what, FrameSeen) else replace(event, stamp=event.stamp + 5_000_000_000)
        for event in recording.events
    )

    assert timeless(tell(replace(recording, events=late))) == timeless(tell(recording))


def test_other_connections_are_left_out(load: Load) -> None:
    """Two recordings' events in one: each question finds its own packets."""
    one, other = load("lab-nft-hairpin"), load("lab-nft-lb-refused")
    both = tuple(replace(event, n=n) for n, event in enumerate(one.events + other.events, 1))

    assert [p.direction for p in find_packets(replace(one, events=both))] == ["request", "reply"]
    assert [p.direction for p in find_packets(replace(other, events=both))] == ["request"]


def test_lost_events_make_a_journey_incomplete(load: Load) -> None:
    """The loss is counted and named; -1 when the kernel does not say how many."""
    recording = load("lab-nft-hairpin")
    for count, said in ((3, "3 events"), (-1, "an unknown number")):
        lost = KernelEvent(9999, recording.events[-1].stamp, "node-a", Lost("nft trace", count))
        journey = tell(replace(recording, events=(*recording.events, lost)))

        assert (journey.complete, journey.lost) == (False, count)
        assert said in (journey.incomplete_because or "")


def test_rules_that_changed_meanwhile_are_said(load: Load) -> None:
    """The ruleset that was read may not be the one that the packet met."""
    recording = load("lab-nft-hairpin")
    changed = KernelEvent(9999, recording.events[-1].stamp, "node-a", RulesetChanged(99))
    journey = tell(replace(recording, events=(*recording.events, changed)))

    assert not journey.complete
    assert "the rules of node-a changed" in (journey.incomplete_because or "")


@pytest.mark.parametrize("keep", ["nothing", "no traces", "half the trace"])
def test_a_hole_in_the_events_is_never_told_as_whole(load: Load, keep: str) -> None:
    """Without the events that tell a part, the journey says that this part is not known."""
    recording = load("lab-nft-other-node")
    traces = [event for event in recording.events if type(event.what).__name__ == "NftTrace"]
    kept = {
        "nothing": (),
        "no traces": tuple(event for event in recording.events if event not in traces),
        "half the trace": tuple(event for event in recording.events if event not in traces[40:]),
    }[keep]
    journey = tell(replace(recording, events=kept))

    assert not journey.complete
    assert journey.incomplete_because


def test_a_forged_trace_is_a_disagreement(load: Load) -> None:
    """A rule that is said to have matched, and cannot, is told as such on its hop and in the journey."""
    recording = load("lab-nft-other-node")
    state = recording.nodes[0]
    forged = replace(
        state, saves=tuple(replace(s, text=s.text.replace("10.96.0.42/32", "10.96.0.43/32")) for s in state.saves)
    )
    journey = tell(replace(recording, nodes=(forged, *recording.nodes[1:])))
    hops = [hop for hop in journey.hops if hop.disagreement]

    assert hops[0].chain == "KUBE-SERVICES"
    assert "10.96.0.43" in (hops[0].disagreement or "")
    assert len(journey.disagreements) == len(hops)


@pytest.mark.parametrize("name", ["lab-nft-curl", "lab-nft-hairpin", "lab-nft-lb-refused", "lab-legacy-nodeport-other"])
def test_a_kernel_whose_trace_does_not_name_conntrack_entries(load: Load, name: str) -> None:
    """Before Linux 6.16 the entry is found by the packet's own ends, and its state by the packet's place."""
    recording = load(name)
    older = tuple(
        replace(event, what=replace(event.what, ct_id=None, ct_direction=None, ct_state=None, ct_status=None))
        if isinstance(event.what, NftTrace)
        else event
        for event in recording.events
    )
    journey, now = tell(replace(recording, events=older)), tell(recording)

    assert journey.complete
    assert journey.disagreements == ()
    assert [(h.kind, h.node, h.chain, h.rule_number) for h in journey.hops] == [
        (h.kind, h.node, h.chain, h.rule_number) for h in now.hops
    ]
    assert [h.conntrack for h in journey.hops if h.kind == "conntrack"] == [
        h.conntrack for h in now.hops if h.kind == "conntrack"
    ]


@pytest.mark.parametrize(
    ("error", "destination", "complete", "said"),
    [
        ("ENETUNREACH: Network is unreachable", "10.96.0.42", True, "own kernel refused to send it: ENETUNREACH"),
        ("", "10.244.1.10", False, "is an address of web-1 itself"),
        ("", "10.96.0.42", False, "nothing was seen"),
    ],
    ids=["refused", "to itself", "gone"],
)
def test_a_packet_that_nobody_saw(load: Load, error: str, destination: str, complete: bool, said: str) -> None:
    """What is known is told: the sending, and the kernel's refusal; the rest is said not to be known."""
    recording = load("lab-nft-hairpin")
    packet = bytes(IP(src="10.244.1.10", dst=destination) / TCP(sport=9, dport=80))
    sent = KernelEvent(1, 1, "web-1", Sent(packet, error=error))
    journey = tell(replace(recording, events=(sent,)))

    assert [hop.kind for hop in journey.hops][:1] == ["sent"]
    assert journey.complete is complete
    assert said in journey.outcome


def test_a_redirect_about_a_translated_connection_is_dropped_by_nat(load: Load) -> None:
    """It ends in OUTPUT without a rule: nf_nat does not let it out, and the journey says so."""
    recording = load("lab-nft-hairpin")
    entry = next(event.what.id for event in recording.events if isinstance(event.what, CtChange))
    redirect = bytes(IP(src="10.244.1.1", dst="10.244.1.10", id=7) / ICMP(type=5, code=1, gw="10.244.1.10"))
    what = NftTrace(
        1, "inet", "kplab-trace", "output-first", "policy", "accept", oif="veth-web-1", packet=redirect,
        ct_id=entry, ct_direction="reply", ct_state="related",
    )  # fmt: skip
    last = recording.events[-1]
    journey = tell(replace(recording, events=(*recording.events, KernelEvent(9999, last.stamp + 9, "node-a", what))))

    assert (journey.complete, journey.packets) == (True, 3)
    assert (journey.hops[-1].kind, journey.hops[-1].evidence) == ("dropped", "modelled")
    assert "redirect" in journey.hops[-1].text
