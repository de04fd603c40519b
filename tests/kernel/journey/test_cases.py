"""Journeys of real packets through a live lab, one for each kind of Service, with both back-ends.

Each test sends until the kernel's draw falls on the endpoint that it needs, and then holds the journey to what a
netfilter maintainer would say of it. What holds for every journey is checked in `trace`.
"""

from __future__ import annotations

import pytest

from kplab.model.expression import parse_expression
from kplab.model.journey import Journey
from kplab.model.packet import ClientSpec
from kplab.session.base import Session
from tests.kernel.journey.sending import OTHER, OWN, WEB, answered_as, kinds, one, syn, to, trace

pytestmark = pytest.mark.kernel


def chains(journey: Journey) -> list[str]:
    """Return the nat chains in which a rule of the first packet matched on its first node, without their hashes."""
    first = next(hop.node for hop in journey.hops if hop.kind == "hook")
    found = [h for h in journey.hops if h.kind == "rule" and h.table == "nat" and h.packet == 1 and h.node == first]
    return ["-".join((hop.chain or "").split("-")[:2]) for hop in found]


def test_clusterip_endpoint_on_the_own_node(lab: Session) -> None:
    """KUBE-SERVICES, KUBE-SVC, KUBE-SEP, DNAT, delivery, the reply, and reverse NAT, in that order, without SNAT."""
    journey = trace(lab, syn("10.96.0.42"), "client", to(*OWN))
    services = next(hop for hop in journey.hops if hop.kind == "rule" and hop.chain == "KUBE-SERVICES")

    assert chains(journey)[:4] == ["PREROUTING", "KUBE-SERVICES", "KUBE-SVC", "KUBE-SEP"]
    assert (services.tried, len(services.skipped), services.service) == (16, 15, "demo/web:http")
    assert kinds(journey) == ["DNAT", "delivered"]
    assert kinds(journey, "reply") == ["reverse NAT", "delivered"]
    assert (one(journey, "reverse NAT", "reply").hook, answered_as(journey)) == ("POSTROUTING", WEB)


def test_clusterip_endpoint_on_the_other_node(lab: Session) -> None:
    """The other node only routes: its KUBE-SERVICES knows no pod address."""
    journey = trace(lab, syn("10.96.0.42"), "client", to(*OTHER))
    there = [
        hop for hop in journey.hops if hop.node == "node-b" and hop.table == "nat" and hop.chain == "KUBE-SERVICES"
    ]

    assert [(hop.kind, hop.verdict, len(hop.skipped)) for hop in there] == [("chain", "return", there[0].tried)]
    assert kinds(journey) == ["DNAT", "delivered"]
    assert {hop.node for hop in journey.hops if hop.kind == "reverse NAT"} == {"node-a"}
    assert answered_as(journey) == WEB


def test_hairpin(lab: Session) -> None:
    """A pod that reaches itself is masqueraded, or it would answer itself past conntrack."""
    journey = trace(lab, syn("10.96.0.42"), "web-1", to("10.244.1.10:8080"))

    assert kinds(journey) == ["DNAT", "SNAT", "delivered"]
    assert [hop.hook for hop in journey.hops if hop.kind == "reverse NAT"] == ["PREROUTING", "POSTROUTING"]
    assert one(journey, "SNAT").after.src.startswith("10.244.1.1:")
    assert answered_as(journey) == WEB


def test_nodeport_from_outside(lab: Session) -> None:
    """Marked, DNATed, masqueraded; the answer comes back through the same node and is undone there, both ways."""
    journey = trace(lab, syn("192.168.50.10", 30030), "outside", to(*OTHER))
    undone = [(hop.node, hop.hook) for hop in journey.hops if hop.kind == "reverse NAT"]

    assert chains(journey)[:6] == ["PREROUTING", "KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXT", "KUBE-MARK", "KUBE-EXT"]
    assert kinds(journey) == ["DNAT", "SNAT", "delivered"]
    assert undone == [("node-a", "PREROUTING"), ("node-a", "POSTROUTING")]
    assert answered_as(journey) == "192.168.50.10:30030"


def test_nodeport_with_external_traffic_policy_local(lab: Session) -> None:
    """Only endpoints of this node, and the pod sees who asked: no SNAT."""
    journey = trace(lab, syn("192.168.50.10", 30031), "outside")

    assert chains(journey)[3:6] == ["KUBE-EXT", "KUBE-SVL", "KUBE-SEP"]
    assert kinds(journey) == ["DNAT", "delivered"]
    assert one(journey, "delivered").after.src.startswith("203.0.113.10:")
    assert answered_as(journey) == "192.168.50.10:30031"


def test_load_balancer_source_range_that_allows(lab: Session) -> None:
    """KUBE-FW lets it on to KUBE-EXT."""
    journey = trace(lab, syn("198.51.100.80"), "outside")

    assert chains(journey)[1:4] == ["KUBE-SERVICES", "KUBE-FW", "KUBE-EXT"]
    assert kinds(journey) == ["DNAT", "SNAT", "delivered"]
    assert answered_as(journey) == "198.51.100.80:80"


def test_load_balancer_source_range_that_does_not(lab: Session) -> None:
    """KUBE-FW returns without DNAT, and the filter table drops: nobody is told."""
    journey = trace(lab, syn("198.51.100.81"), "outside")
    dropped = one(journey, "dropped")

    assert "KUBE-FW" in chains(journey)
    assert (dropped.node, dropped.table, dropped.chain) == ("node-a", "filter", "KUBE-PROXY-FIREWALL")
    assert dropped.service == "demo/private:http"
    assert journey.packets == 1
    assert "no answer" in journey.outcome


def test_a_nodes_own_process(lab: Session) -> None:
    """OUTPUT, not PREROUTING; routed again after DNAT; the answer's source is turned back at INPUT."""
    journey = trace(lab, syn("10.96.0.42"), "node-a", to(*OTHER))
    routes = [hop.text for hop in journey.hops if hop.kind == "route" and hop.packet == 1 and hop.node == "node-a"]

    assert chains(journey)[:2] == ["OUTPUT", "KUBE-SERVICES"]
    assert kinds(journey) == ["DNAT", "SNAT", "delivered"]
    assert [text.startswith("routed again") for text in routes] == [False, True]
    assert [h.hook for h in journey.hops if h.kind == "reverse NAT" and h.node == "node-a"] == ["PREROUTING", "INPUT"]
    assert answered_as(journey) == WEB


def test_udp(lab: Session) -> None:
    """A datagram and its echo: conntrack turns the answer back as for TCP, and the server says whom it saw."""
    journey = trace(lab, ClientSpec("udp", "10.96.0.77:7"), "client")

    assert kinds(journey) == ["DNAT", "delivered"]
    assert "its server on 10.244.2.20:7 took it" in one(journey, "delivered").text
    assert one(journey, "reverse NAT", "reply").after.src == "10.96.0.77:7"
    assert answered_as(journey) == "10.96.0.77:7"


def test_client_ip_affinity(lab: Session) -> None:
    """The second connection follows the recent list's rule to the endpoint of the first."""
    first, second = (trace(lab, syn("10.96.0.55"), "client") for _ in range(2))
    rule = next(hop for hop in second.hops if hop.kind == "rule" and (hop.chain or "").startswith("KUBE-SVC"))

    assert one(first, "DNAT").after.dst == one(second, "DNAT").after.dst
    assert "--rcheck" in (rule.rule or "")
    assert "ClientIP affinity" in rule.text


@pytest.mark.parametrize("sender", ["client", "node-a"])
def test_no_endpoints(lab: Session, sender: str) -> None:
    """REJECT in filter's KUBE-SERVICES, and the ICMP error that makes ECONNREFUSED of it."""
    journey = trace(lab, syn("10.96.0.66"), sender)
    rejected = one(journey, "rejected")

    assert (rejected.table, rejected.chain, rejected.service) == ("filter", "KUBE-SERVICES", "demo/cart:http")
    assert rejected.hook == ("FORWARD" if sender == "client" else "OUTPUT")
    assert one(journey, "reply", "reply").before.proto == "icmp"
    assert "ECONNREFUSED" in journey.outcome
    assert journey.hops[-1].node == sender


def test_icmp_to_a_clusterip(lab: Session) -> None:
    """A ClusterIP is its ports: nothing matches an echo request, which leaves the cluster as it is."""
    journey = trace(lab, parse_expression('IP(dst="10.96.0.42")/ICMP()'), "client")
    passed = next(hop for hop in journey.hops if hop.chain == "KUBE-SERVICES" and hop.table == "nat")

    assert (passed.kind, passed.verdict) == ("chain", "return")
    assert "proto is icmp" in passed.text
    assert kinds(journey) == ["rejected"]
    assert "ICMP network unreachable" in journey.outcome


def test_ipv6(lab: Session) -> None:
    """The same story with ip6tables' rules."""
    journey = trace(lab, syn("fd00:10:96::42"), "client")

    assert chains(journey)[:4] == ["PREROUTING", "KUBE-SERVICES", "KUBE-SVC", "KUBE-SEP"]
    assert kinds(journey) == ["DNAT", "delivered"]
    assert answered_as(journey) == "[fd00:10:96::42]:80"


def test_a_real_connection(lab: Session) -> None:
    """All packets of curl's connection are followed, and those after the first never enter nat."""
    journey = trace(lab, ClientSpec("curl", f"http://{WEB}/"), "client")
    hooks = [hop for hop in journey.hops if hop.kind == "hook" and hop.hook in ("PREROUTING", "POSTROUTING")]
    states = [h.conntrack.state for h in journey.hops if h.kind == "conntrack" and h.node == "node-a" and h.conntrack]

    assert journey.packets >= 8
    assert {hop.packet for hop in journey.hops if hop.table == "nat"} == {1}
    assert all("nat is not consulted" in hop.text for hop in hooks if hop.packet > 1)
    assert states[:3] == ["SYN_SENT", "SYN_RECV", "ESTABLISHED"]
    assert "curl ended with status 0" in journey.outcome
    assert answered_as(journey) == WEB


def test_rules_that_are_nobodys(lab: Session) -> None:
    """A chain made by hand, a mark and a REJECT with a RST are walked like any other."""
    program = "iptables" if lab.facts.backend == "nft" else "iptables-legacy"
    made = [
        ("-N", "HAND-MADE"),
        ("-A", "HAND-MADE", "-j", "MARK", "--set-mark", "0x7"),
        ("-A", "HAND-MADE", "-p", "udp", "-j", "DROP"),
        ("-A", "HAND-MADE", "-p", "tcp", "-m", "mark", "--mark", "0x7", "-j", "REJECT", "--reject-with", "tcp-reset"),
        ("-I", "FORWARD", "1", "-d", "10.244.1.30", "-j", "HAND-MADE"),
    ]
    for rule in made:
        assert lab.execute("node-a", (program, "-w", *rule)).status == 0
    try:
        journey = trace(lab, syn("10.96.0.20", 443), "client")
        rejected = one(journey, "rejected")

        assert (rejected.chain, rejected.rule_number, rejected.before.mark) == ("HAND-MADE", 3, 0x7)
        assert [skip.reason for hop in journey.hops if hop.chain == "HAND-MADE" for skip in hop.skipped] == [
            "proto is tcp, not udp"
        ]
        assert "RST" in journey.outcome
    finally:
        for rule in (("-D", *made[4][1:2], *made[4][3:]), ("-F", "HAND-MADE"), ("-X", "HAND-MADE")):
            lab.execute("node-a", (program, "-w", *rule))
