"""A notebook's lab on a real kernel: every call, and what it shows."""

from __future__ import annotations

import xml.etree.ElementTree as Xml

import pytest
from scapy.all import IP, TCP

import kplab
from kplab.course.lesson import Connections, ServiceRules
from kplab.errors import LabError, ManifestError, UnknownNameError, UsageError
from kplab.jupyter.lab import Lab

pytestmark = pytest.mark.kernel

WEB = "10.96.0.42"
PODS = {"10.244.1.10:8080": "web-1", "10.244.1.11:8080": "web-2", "10.244.2.10:8080": "web-3"}


def test_a_packet_of_scapys_is_followed_to_its_pod(lab: Lab) -> None:
    """The packet goes through the kernel; the journey's pod is the one that DNAT chose."""
    journey = lab.send(IP(dst=WEB) / TCP(dport=80, flags="S"), from_="client")

    chosen = next(hop.after.dst for hop in journey.hops if hop.kind == "DNAT")
    met = [hop.node for hop in journey.hops if hop.kind == "delivered" and hop.direction == "request"]
    assert met == [PODS[chosen]]
    assert journey.journey.complete
    assert not journey.journey.disagreements


@pytest.mark.parametrize("target", [f"http://{WEB}", "tcp://10.96.0.77:7", "udp://10.96.0.77:7"])
def test_a_real_connection_is_followed(lab: Lab, target: str) -> None:
    """curl, TCP and UDP clients are answered, and every packet of theirs is in the story."""
    journey = lab.request(target)

    assert journey.journey.packets >= 2
    assert "status 0" in journey.outcome


def test_the_walk_is_the_nodes_own_list(lab: Lab) -> None:
    """What `walk` has tried is, rule for rule, what the node's own command prints first."""
    walk = lab.send(f'IP(dst="{WEB}")/TCP(dport=80, flags="S")').walk("KUBE-SERVICES")
    listed = [line for line in lab.rules("node-a").of("iptables") if line.startswith("-A KUBE-SERVICES")]
    nat = listed[-len(walk) :] if len(walk) == len(listed) else listed

    assert [tried.rule for tried in walk] == [line for line in nat if line in {t.rule for t in walk}]


def test_conntrack_has_the_connection_that_was_made(lab: Lab) -> None:
    """The entry's answer comes from the pod that was chosen."""
    chosen = next(hop.after.dst for hop in lab.request(f"http://{WEB}").hops if hop.kind == "DNAT")

    assert any(entry.reply_src == chosen and entry.rewritten for entry in lab.conntrack("node-a").to(f"{WEB}:80"))


def test_the_graph_is_a_picture_with_the_way_in_it(lab: Lab) -> None:
    """The graph has the lit way from PREROUTING to DNAT, and graphviz draws it."""
    journey = lab.send(IP(dst=WEB) / TCP(dport=80, flags="S"))
    graph = lab.graph(journey)

    assert {("nat", "PREROUTING"), ("nat", "KUBE-SERVICES")} <= set(graph.way)
    assert any(place[1].startswith("DNAT 10.244.") for place in graph.way)
    drawn = graph._repr_mimebundle_()["image/svg+xml"]
    assert Xml.fromstring(drawn).tag.endswith("svg")  # noqa: S314 - graphviz's own
    assert "#d62728" in drawn


def test_many_connections_are_all_answered(lab: Lab) -> None:
    """Every one has an answer, and fair draws explain who gave it."""
    answers = lab.connect(f"http://{WEB}", times=300)

    assert (len(answers), answers.failed) == (300, {})
    assert set(answers.counts) == set(PODS.values())
    assert answers.chi_square().p > 0.0001


def test_connections_that_fail_are_counted_and_given_up(lab: Lab) -> None:
    """A Service without endpoints refuses; the client stops after a few."""
    answers = lab.connect("http://10.96.0.66", times=300)

    assert (len(answers), answers.failed) == (0, {"Connection refused": 5})


def test_a_packet_that_conntrack_does_not_take_in_is_invalid(lab: Lab) -> None:
    """The error about an untracked packet belongs to no entry: the model says INVALID where the kernel does."""
    lab.run("node-a", f"iptables -t raw -A PREROUTING -p tcp -d {WEB} -j CT --notrack")
    journey = lab.send(IP(dst=WEB) / TCP(dport=80, flags="S"))
    lab.run("node-a", "iptables -t raw -F PREROUTING")

    assert any(hop.kind == "dropped" and hop.chain == "KUBE-FORWARD" for hop in journey.hops)
    assert not journey.journey.disagreements


def test_a_prediction_is_graded_by_the_next_journey(lab: Lab) -> None:
    """Exactly the pod that was met makes the answer right."""
    question = lab.predict("Who?", ["web-1", "web-2", "web-3"], answer="web-1", destination=f"{WEB}:80")
    lab.send('IP(dst="10.96.0.66")/TCP(dport=80, flags="S")')
    assert question.verdict is None
    journey = lab.send(IP(dst=WEB) / TCP(dport=80, flags="S"))

    met = next(hop.node for hop in journey.hops if hop.kind == "delivered" and hop.direction == "request")
    assert question.done == (met == "web-1")
    assert question.verdict is not None


def test_exercises_are_checked_against_the_kernel(lab: Lab) -> None:
    """A lesson's checks find a rule that was taken out, and pass when it is back."""
    wanted = ServiceRules("node-a", "demo/web:http", tuple(PODS))
    real = Connections("client", f"http://{WEB}", 6, tuple(PODS.values()))
    assert lab.check(wanted, real)

    kept = lab.run("node-a", "iptables-save -t nat")
    line = next(line for line in kept.lines if "demo/web:http -> 10.244.1.10:8080" in line)
    lab.run("node-a", line.replace("-A", "iptables -t nat -D", 1))
    assert not lab.check(wanted)
    lab.run("node-a", "iptables-restore <<'EOF'\n" + kept.stdout + "EOF")
    assert lab.check(wanted)


def test_modes_are_compared_each_in_a_lab_of_its_own(lab: Lab) -> None:
    """Two modes and their journeys; the lab that asked is as it was."""
    found = lab.compare(["iptables", "nftables"], f"http://{WEB}", rounds=10, sizes=[10])

    assert list(found.journeys) == ["iptables-nft", "nftables"]
    assert [(row.services, row.column.mode) for row in found.comparison.sizes] == [(10, "iptables"), (10, "nftables")]
    frame = found.to_frame().set_index("name")
    assert frame.loc["iptables-nft", "first_rules"] > frame.loc["nftables", "first_rules"]
    assert frame["median_us"].min() > 0
    assert lab.run("client", "true").status == 0


@pytest.mark.parametrize("make", [lambda lab: lab.send("IP()/TCP()", from_="nobody"), lambda lab: lab.rules("web-1")])
def test_unknown_names_are_named_with_those_there_are(lab: Lab, make: object) -> None:
    """A sender or a node that does not exist is an error that lists the others."""
    with pytest.raises(UnknownNameError, match="node-a"):
        make(lab)  # type: ignore[operator]


def test_what_cannot_be_built_is_said_before_it_is_begun(lab: Lab) -> None:
    """A mode and a manifest that cannot be used are errors of the user's, not of a lab."""
    with pytest.raises(UsageError, match="ipfables"):
        kplab.Lab(mode="ipfables")
    with pytest.raises(ManifestError):
        kplab.Lab(manifest="/does/not/exist.yaml")


def test_a_lab_that_has_ended_says_so() -> None:
    """After `with`, every call is one named error with the way on; ending it again does nothing."""
    with kplab.Lab() as ended:
        pass
    ended.close()

    assert ended.closed
    for use in (lambda: ended.send("IP()/TCP()"), ended.rules, ended.conntrack, lambda: ended.run("client", "true")):
        with pytest.raises(LabError, match=r"it has ended\n  Make a new one"):
            use()
