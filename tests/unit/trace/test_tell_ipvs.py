"""IPVS's hop, rebuilt from the listings before and after: what was hit, who could be chosen, who was."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kplab.model.journey import Flow
from kplab.trace.events import IpvsConnection, KernelEvent
from kplab.trace.journey import tell
from kplab.trace.recording import NodeState, Recording
from kplab.trace.tell_ipvs import (
    answers_at,
    bound,
    choice_of,
    nobody_to_choose,
    request_sentence,
    seen_choice,
    turned_back,
)

pytestmark = pytest.mark.unit

LISTING = """TCP  10.96.0.42:80 {}
  -> 10.244.1.10:8080             Masq    1      0          0
  -> 10.244.2.10:8080             Masq    1      2          {}
"""
LINE = "TCP 00:59  SYN_RECV    10.244.1.5:40000   10.96.0.42:80      10.244.2.10:8080"
BEFORE = Flow("10.244.1.5:40000", "10.96.0.42:80", "tcp")
AFTER = Flow("10.244.1.5:40000", "10.244.2.10:8080", "tcp")


def state(flags: str = "rr", connections: tuple[str, str] = ("", LINE)) -> NodeState:
    """A node whose virtual server has two real servers."""
    listings = (LISTING.format(flags, 0), LISTING.format(flags, 1))
    return NodeState(node="node-a", ipvs_stats=listings, ipvs_connections=connections)


def test_a_choice_has_its_candidates_and_the_entry_that_was_made() -> None:
    """Counts stand before and after, and the connection's line is verbatim."""
    choice = choice_of(state(), BEFORE, AFTER)
    assert choice is not None
    assert (choice.virtual_server, choice.scheduler) == ("TCP 10.96.0.42:80", "rr")
    assert choice.chosen == "10.244.2.10:8080"
    assert choice.connection == LINE
    chosen = choice.candidates[1]
    assert (chosen.weight, chosen.active_before, chosen.inactive_before, chosen.inactive_after) == (1, 2, 0, 1)


@pytest.mark.parametrize(
    "after", [Flow(BEFORE.src, "10.9.9.9:8080", "tcp"), Flow(BEFORE.src, "10.244.2.10:8080", "udp")]
)
def test_what_ipvs_did_not_do_is_not_said_of_it(after: Flow) -> None:
    """A destination that is no real server of the virtual server, or another protocol, was somebody else's work."""
    before = Flow(BEFORE.src, BEFORE.dst, after.proto)
    assert choice_of(state(), before, after) is None
    assert choice_of(NodeState(node="node-a"), BEFORE, AFTER) is None


def test_only_a_new_connection_is_scheduled() -> None:
    """The first packet is chosen for; a later one, or one whose entry was there before, keeps its real server."""
    here = state()
    choice = choice_of(here, BEFORE, AFTER)
    assert choice is not None
    assert "The scheduler rr chooses" in request_sentence(here, "INPUT", choice, BEFORE, first=True)
    assert "nothing is chosen anew" in request_sentence(here, "INPUT", choice, BEFORE, first=False)
    known = state(connections=(LINE, LINE))
    assert "nothing is chosen anew" in request_sentence(known, "INPUT", choice, BEFORE, first=True)
    assert "FORWARD" not in request_sentence(here, "OUTPUT", choice, BEFORE, first=True)


def test_persistence_is_told() -> None:
    """With ClientIP affinity the scheduler is asked for a client's first connection only."""
    sticky = state("rr persistent 10800")
    choice = choice_of(sticky, BEFORE, AFTER)
    assert choice is not None
    assert choice.template is None
    first = request_sentence(sticky, "INPUT", choice, BEFORE, first=True)
    assert "keeps its real server for 10800 s (ClientIP affinity); this one has none yet, so the scheduler rr" in first


def test_a_template_keeps_the_choice() -> None:
    """The entry whose client has port 0 answers for a later connection; the scheduler is not asked."""
    template = "TCP 179:58 ASSURED     10.244.1.5:0       10.96.0.42:80      10.244.2.10:8080"
    kept = state("rr persistent 10800", (template, f"{template}\n{LINE}"))
    choice = choice_of(kept, BEFORE, AFTER)
    assert choice is not None
    assert (choice.template, choice.connection) == (template, LINE)
    assert "the scheduler is not asked" in request_sentence(kept, "INPUT", choice, BEFORE, first=True)


def test_the_kernels_own_word_is_that_of_this_connection_on_this_node() -> None:
    """Another node's, another connection's or a template's entry is not it."""
    made = IpvsConnection("TCP", BEFORE.src, BEFORE.dst, AFTER.dst)
    events = [
        KernelEvent(1, 0, "node-b", made),
        KernelEvent(2, 0, "node-a", IpvsConnection("TCP", "10.244.1.5:0", BEFORE.dst, AFTER.dst, template=True)),
        KernelEvent(3, 0, "node-a", IpvsConnection("TCP", "10.244.1.5:9", BEFORE.dst, AFTER.dst)),
        KernelEvent(4, 0, "node-a", made),
    ]
    found = seen_choice(events, "node-a", BEFORE, AFTER)
    assert found is not None
    assert found.n == 4
    assert seen_choice(events[:3], "node-a", BEFORE, AFTER) is None


def test_a_virtual_server_with_nobody_to_choose() -> None:
    """Without real servers, or with those of weight 0 only, IPVS refuses by itself."""
    listing = "TCP  10.96.0.42:80 rr\n"
    empty = NodeState(node="node-a", ipvs_stats=(listing, listing))
    leaving = NodeState(node="node-a", ipvs_stats=(f"{listing}  -> 10.244.1.10:8080  Masq 0 1 0\n", ""))
    assert "the Service has no endpoints" in (nobody_to_choose(empty, "INPUT", BEFORE) or "")
    assert "weight 0 only" in (nobody_to_choose(leaving, "OUTPUT", BEFORE) or "")
    assert nobody_to_choose(state(), "INPUT", BEFORE) is None
    assert nobody_to_choose(empty, "FORWARD", BEFORE) is None


def test_why_an_address_is_local() -> None:
    """A Service's address is on kube-ipvs0; a NodePort's is the node's own; any other is nothing of IPVS's."""
    service = "local 10.96.0.42 dev kube-ipvs0 proto kernel scope host src 10.96.0.42 "
    here = NodeState(node="node-a", ipvs_stats=(LISTING.format("rr", 0), ""), local_routes=(service,))
    own = NodeState(node="node-a", ipvs_stats=here.ipvs_stats, local_routes=("local 10.96.0.42 dev eth0 table local",))
    assert f"`{service.strip()}`" in bound(here, "10.96.0.42")
    assert "NodePort" in bound(own, "10.96.0.42")
    assert bound(here, "10.1.1.1") == ""


def test_an_answer_is_turned_back_by_ipvs() -> None:
    """Its source becomes the virtual server's again; another rewriting is left to conntrack's story."""
    before = Flow("10.244.2.10:8080", "10.244.1.5:40000", "tcp")
    text = turned_back(state(), "FORWARD", before, Flow("10.96.0.42:80", "10.244.1.5:40000", "tcp"))
    assert text is not None
    assert "IPVS does it" in text
    assert turned_back(state(), "FORWARD", before, Flow("10.9.9.9:80", "10.244.1.5:40000", "tcp")) is None


def test_unreadable_listings_tell_nothing() -> None:
    """A recording from elsewhere may hold anything."""
    odd = NodeState(node="node-a", ipvs_stats=("what is this", ""))
    assert not answers_at(odd, "10.96.0.42")


def test_a_real_packet_passes_input_ipvs_and_output(load: Callable[[str], Recording]) -> None:
    """The recorded SYN crosses no FORWARD on the client's node; its answer does, and there IPVS turns it back."""
    journey = tell(load("lab-ipvs-syn"))
    mine = [hop for hop in journey.hops if hop.node == "node-a"]
    request = [hop.hook for hop in mine if hop.kind in ("hook", "IPVS") and hop.direction == "request"]
    assert request == ["PREROUTING", "INPUT", "INPUT", "OUTPUT", "POSTROUTING"]
    (choice,) = [hop.ipvs for hop in mine if hop.ipvs is not None]
    assert len(choice.candidates) == 3
    assert choice.connection is not None
    (back,) = [hop for hop in mine if hop.kind == "reverse NAT"]
    assert (back.hook, back.after.src) == ("FORWARD", "10.96.0.42:80")
    assert journey.complete
    assert not journey.disagreements


def test_a_seen_choice_is_marked_so(load: Callable[[str], Recording]) -> None:
    """In a guest the entry was seen being made; then the hop has that event, and its mark."""
    recording = load("lab-ipvs-affinity-2")
    (hop,) = [hop for hop in tell(recording).hops if hop.kind == "IPVS" and hop.packet == 1]
    assert (hop.evidence, hop.node) == ("seen", "node-b")
    (event,) = [event for event in recording.events if event.n == hop.events[0]]
    assert event.what == IpvsConnection("TCP", hop.before.src, hop.before.dst, hop.after.dst)
    assert hop.ipvs is not None
    assert "10.244.2.5:0" in (hop.ipvs.template or "")


def test_nobody_to_choose_is_no_delivery(load: Callable[[str], Recording]) -> None:
    """A packet for a Service without endpoints ends in IPVS, and is not told as delivered to the node."""
    hops = [hop for hop in tell(load("lab-ipvs-no-endpoints")).hops if hop.packet == 1]
    assert (hops[-1].kind, hops[-1].hook, hops[-1].evidence) == ("rejected", "INPUT", "seen")
    assert "IPVS itself refuses" in hops[-1].text


def test_a_process_of_the_node_passes_output_twice(load: Callable[[str], Recording]) -> None:
    """IPVS takes its packet at OUTPUT, and sends the same one through OUTPUT again: one packet, not two."""
    journey = tell(load("lab-ipvs-host-curl"))
    first = [hop for hop in journey.hops if hop.packet == 1 and hop.node == "node-a"]
    (taken,) = [hop for hop in first if hop.kind == "IPVS"]
    assert (taken.hook, taken.before.dst) == ("OUTPUT", "10.96.0.42:80")
    assert [hop.hook for hop in first if hop.kind == "hook"] == ["OUTPUT", "POSTROUTING"]
    assert journey.complete
    assert not journey.disagreements
