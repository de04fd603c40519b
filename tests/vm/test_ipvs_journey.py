"""Journeys through IPVS on a real kernel: hops in order, who chose whom, what the pod saw, and how we know.

All in one lab. Its kernel is the guest's, so a kprobe sees each entry being made, and the choice is marked as seen.
"""

from __future__ import annotations

import pytest

from kplab.model.expression import parse_expression
from kplab.model.journey import Hop, IpvsChoice, Journey
from kplab.model.packet import ClientSpec, SendSpec
from kplab.session.live import LiveSession
from kplab.trace.events import IpvsConnection, Served
from kplab.trace.journey import tell
from kplab.trace.recording import Recording
from tests.kernel.journey.command import assert_golden, assert_pod_agrees, trace_command
from tests.kernel.journey.sending import answered_as, one
from tests.vm.conftest import IPVS_LAB

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

WAY = ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]
"""The hooks of a packet that IPVS takes in from a link and sends on; FORWARD is not among them."""


def trace(lab: LiveSession, spec: SendSpec, sender: str) -> tuple[Recording, Journey]:
    """Send, tell, and check what holds for every journey.

    On a busy machine an emulated guest may not get a client started within its 3 s: then nothing was sent, and it is
    asked again.
    """
    for _ in range(3):
        recording = lab.send(spec, sender)
        journey = tell(recording)
        if journey.packets:
            break

    assert (journey.mode, journey.complete, journey.incomplete_because) == ("ipvs", True, None)
    assert journey.disagreements == ()
    return recording, journey


def curl(lab: LiveSession, target: str, sender: str = "client") -> tuple[Recording, Journey]:
    """Run curl, and tell its journey."""
    return trace(lab, ClientSpec(client="curl", target=f"http://{target}"), sender)


def taken(journey: Journey) -> tuple[Hop, IpvsChoice]:
    """Return the hop in which IPVS took the first packet, and its choice."""
    (hop,) = [hop for hop in journey.hops if hop.kind == "IPVS" and hop.packet == 1]
    assert hop.ipvs is not None
    return hop, hop.ipvs


def served(recording: Recording) -> str:
    """Return the address at which a pod's server took the connection, as the server said."""
    (local,) = {event.what.local for event in recording.events if isinstance(event.what, Served)}
    return local


def hooks(journey: Journey, node: str) -> list[str | None]:
    """Return the hooks that the first packet passed on a node, in order."""
    return [hop.hook for hop in journey.hops if hop.kind == "hook" and hop.packet == 1 and hop.node == node]


def members(journey: Journey) -> dict[str, str | None]:
    """Return the members of ipsets that the first packet's rules found, by the set's name."""
    return {hop.lookup.map: hop.lookup.element for hop in journey.hops if hop.lookup is not None and hop.packet == 1}


def masqueraded(journey: Journey) -> Hop:
    """Return the hop that gave the first packet a source of the node's own."""
    (hop,) = [hop for hop in journey.hops if hop.kind == "SNAT" and hop.packet == 1]
    return hop


def test_the_command_prints_the_journey(ipvs_lab: LiveSession) -> None:
    """Sets, the local route, INPUT, IPVS, OUTPUT, POSTROUTING, and IPVS turning the answer back; each with its mark."""
    for _ in range(3):  # see `trace`
        told = trace_command("--mode", "ipvs", "--name", IPVS_LAB, "--client", "curl", "http://10.96.0.42")
        if told["outcome"].endswith(("web-1", "web-2", "web-3")):
            break

    assert ipvs_lab.facts.sandbox.startswith("microvm")
    assert (told["complete"], told["disagreements"], told["lost"]) == (True, [], 0)
    assert_pod_agrees(told)
    assert_golden("ipvs", told)


def test_the_choice_is_the_kernels_own_word(ipvs_lab: LiveSession) -> None:
    """Three candidates with weight and counts before and after; the chosen one has one connection more: it served.

    Hundreds of connections that end meanwhile would change the counts: the tests of schedulers come after this file's.
    """
    recording, journey = curl(ipvs_lab, "10.96.0.42")
    hop, choice = taken(journey)
    (event,) = [event for event in recording.events if event.n in hop.events]
    more = {
        each.address: each.active_after + each.inactive_after - each.active_before - each.inactive_before
        for each in choice.candidates
    }

    assert (choice.virtual_server, choice.scheduler) == ("TCP 10.96.0.42:80", "rr")
    assert {each.weight for each in choice.candidates} == {1}
    assert choice.chosen == hop.after.dst == served(recording)
    assert more == {each.address: int(each.address == choice.chosen) for each in choice.candidates}
    assert event.what == IpvsConnection("TCP", hop.before.src, "10.96.0.42:80", choice.chosen)
    assert (hop.evidence, hop.stamp, hop.rule) == ("seen", event.stamp, None)
    assert choice.connection is not None
    assert choice.connection.split()[3:] == [hop.before.src, "10.96.0.42:80", choice.chosen]


def test_the_address_is_local_because_kube_ipvs0_holds_it(ipvs_lab: LiveSession) -> None:
    """The route is of table local; the packet goes up to INPUT, and never passes FORWARD on that node."""
    _, journey = curl(ipvs_lab, "10.96.0.42")
    route = next(hop for hop in journey.hops if hop.kind == "route" and hop.node == "node-a")

    assert "`local 10.96.0.42 dev kube-ipvs0 " in route.text
    assert (route.evidence, hooks(journey, "node-a")) == ("rebuilt", WAY)
    assert members(journey) == {"KUBE-CLUSTER-IP": "10.96.0.42,tcp:80"}


@pytest.mark.parametrize(
    ("spec", "sender", "node", "server"),
    [
        (ClientSpec("udp", "10.96.0.77:7"), "client", "node-a", "UDP 10.96.0.77:7"),
        (ClientSpec("curl", "http://[fd00:10:96::42]"), "client", "node-a", "TCP [fd00:10:96::42]:80"),
        (ClientSpec("curl", "http://192.168.50.10:30030"), "outside", "node-a", "TCP 192.168.50.10:30030"),
        (ClientSpec("curl", "http://192.168.50.10:30031"), "outside", "node-a", "TCP 192.168.50.10:30031"),
        (ClientSpec("curl", "http://198.51.100.80"), "outside", "node-a", "TCP 198.51.100.80:80"),
        (ClientSpec("tcp", "10.96.0.77:7"), "client-b", "node-b", "TCP 10.96.0.77:7"),
    ],
    ids=["udp", "ipv6", "nodeport", "nodeport-local", "load-balancer", "other-node"],
)
def test_every_way_in_leads_through_ipvs(
    ipvs_lab: LiveSession, spec: ClientSpec, sender: str, node: str, server: str
) -> None:
    """One virtual server is hit, the pod that it chose serves, and IPVS gives the answer its address back."""
    recording, journey = trace(ipvs_lab, spec, sender)
    hop, choice = taken(journey)
    back = [each for each in journey.hops if each.kind == "reverse NAT" and "IPVS does it" in each.text]

    assert (hop.node, hop.hook, hop.evidence, choice.virtual_server) == (node, "INPUT", "seen", server)
    assert choice.chosen == served(recording)
    assert hooks(journey, node) == WAY
    assert {(each.node, each.hook, each.evidence) for each in back} == {(node, "FORWARD", "rebuilt")}
    assert answered_as(journey) == server.partition(" ")[2]
    assert "ended with status 0" in journey.outcome


def test_a_nodeport_is_masqueraded(ipvs_lab: LiveSession) -> None:
    """The bitmap holds the port, the packet is marked, and POSTROUTING gives it the node's address."""
    _, journey = curl(ipvs_lab, "192.168.50.10:30030", "outside")
    route = next(hop for hop in journey.hops if hop.kind == "route" and hop.node == "node-a")

    assert members(journey) == {"KUBE-NODE-PORT-TCP": "30030"}
    assert next(hop for hop in journey.hops if hop.after.mark == 0x4000).chain == "KUBE-MARK-MASQ"
    assert masqueraded(journey).evidence == "seen"
    assert "a NodePort's virtual server stands at it" in route.text


def test_traffic_policy_local_shows_the_pod_who_asked(ipvs_lab: LiveSession) -> None:
    """Only this node's endpoints are real servers, and nothing is masqueraded."""
    _, journey = curl(ipvs_lab, "192.168.50.10:30031", "outside")
    _, choice = taken(journey)

    assert {each.address for each in choice.candidates} == {"10.244.1.10:8080", "10.244.1.11:8080"}
    assert members(journey) == {"KUBE-NODE-PORT-LOCAL-TCP": "30031"}
    assert [hop for hop in journey.hops if hop.kind == "SNAT"] == []


def test_a_template_keeps_a_clients_choice(ipvs_lab: LiveSession) -> None:
    """ClientIP affinity: the first connection makes a template; the second goes by it, and nobody is asked."""
    first, second = (curl(ipvs_lab, "10.96.0.55", "client-b") for _ in range(2))
    (hop, choice), (later, again) = taken(first[1]), taken(second[1])
    made = [event.what for event in first[0].events if isinstance(event.what, IpvsConnection)]
    made_later = [event.what for event in second[0].events if isinstance(event.what, IpvsConnection)]

    assert choice.chosen == again.chosen == served(first[0]) == served(second[0])
    assert [each.template for each in made] == [True, False]
    assert [each.template for each in made_later] == [False]
    assert "this one has none yet, so the scheduler rr chooses" in hop.text
    assert "the scheduler is not asked" in later.text
    assert again.template is not None
    assert again.template.split()[3:] == ["10.244.2.5:0", "10.96.0.55:80", choice.chosen]


def test_hairpin(ipvs_lab: LiveSession) -> None:
    """A pod that is sent to itself is masqueraded, for KUBE-LOOP-BACK holds it; in four turns round robin does so."""
    for _ in range(4):
        _, journey = curl(ipvs_lab, "10.96.0.42", "web-1")
        if taken(journey)[1].chosen == "10.244.1.10:8080":
            break
    else:
        pytest.fail("round robin passed over web-1 four times")

    assert members(journey)["KUBE-LOOP-BACK"] == "10.244.1.10,tcp:8080,10.244.1.10"
    assert masqueraded(journey).after.src.startswith("10.244.1.1:")
    assert answered_as(journey) == "10.96.0.42:80"


def test_a_nodes_own_process_passes_output_twice(ipvs_lab: LiveSession) -> None:
    """IPVS takes the packet at OUTPUT; there it goes through again, to the pod, and is masqueraded."""
    recording, journey = curl(ipvs_lab, "10.96.0.42", "node-a")
    hop, choice = taken(journey)

    assert (hop.hook, hop.evidence, hop.before.src.partition(":")[0]) == ("OUTPUT", "seen", "10.96.0.42")
    assert choice.chosen == served(recording)
    assert hooks(journey, "node-a") == ["OUTPUT", "POSTROUTING"]
    assert masqueraded(journey).hook == "POSTROUTING"


def test_a_service_without_endpoints_is_refused_by_ipvs(ipvs_lab: LiveSession) -> None:
    """No rule rejects it: the virtual server is empty, and IPVS answers with an ICMP error."""
    _, journey = curl(ipvs_lab, "10.96.0.66")
    last = [hop for hop in journey.hops if hop.packet == 1][-1]

    assert (last.node, last.kind, last.hook, last.evidence, last.rule) == ("node-a", "rejected", "INPUT", "seen", None)
    assert "no real server" in last.text
    assert "ECONNREFUSED" in journey.outcome


def test_a_port_that_no_service_has_is_refused_by_a_rule(ipvs_lab: LiveSession) -> None:
    """The address is kube-ipvs0's, no set holds it with this port, so KUBE-IPVS-FILTER rejects the packet."""
    _, journey = trace(ipvs_lab, parse_expression('IP(dst="10.96.0.42")/TCP(dport=81,flags="S")'), "client")
    rejected = one(journey, "rejected")

    assert (rejected.hook, rejected.chain) == ("INPUT", "KUBE-IPVS-FILTER")
    assert members(journey) == {"KUBE-IPVS-IPS": "10.96.0.42"}
    assert "ICMP port unreachable" in journey.outcome
