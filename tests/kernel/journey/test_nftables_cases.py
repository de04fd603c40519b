"""Journeys of real packets in nftables mode: the cases of iptables mode, and what only maps and sets show."""

from __future__ import annotations

import pytest

from kplab.model.expression import parse_expression
from kplab.model.journey import Hop, Journey
from kplab.model.packet import ClientSpec
from kplab.session.base import Session
from tests.kernel.journey.sending import OTHER, OWN, WEB, answered_as, kinds, one, syn, to, trace

pytestmark = pytest.mark.kernel

KEY = "ip daddr . meta l4proto . th dport"


def chains(journey: Journey) -> list[str]:
    """Return the chains in which a rule of the first packet matched on its first node, without their hashes."""
    first = next(hop.node for hop in journey.hops if hop.kind == "hook")
    found = [hop for hop in journey.hops if hop.kind == "rule" and hop.packet == 1 and hop.node == first]
    return [(hop.chain or "").partition("-")[0] if "/" in (hop.chain or "") else hop.chain or "" for hop in found]


def asked(journey: Journey, name: str) -> Hop:
    """Return the first rule hop in which this map or set had an element for the packet."""
    return next(hop for hop in journey.hops if hop.kind == "rule" and hop.lookup and hop.lookup.map == name)


def drawn(journey: Journey) -> Hop:
    """Return the hop of the rule that drew the endpoint."""
    return next(hop for hop in journey.hops if hop.kind == "rule" and "numgen" in (hop.rule or ""))


def test_clusterip_endpoint_on_the_own_node(nft_lab: Session) -> None:
    """One lookup in service-ips, the Service's chain, the draw, delivery, and reverse NAT; no SNAT."""
    journey = trace(nft_lab, syn("10.96.0.42"), "client", to(*OWN))
    services = asked(journey, "service-ips")
    endpoint = one(journey, "DNAT").after.dst
    number = (*OWN, *OTHER).index(endpoint)

    assert journey.mode == "nftables"
    assert chains(journey)[:4] == ["filter-prerouting-pre-dnat", "nat-prerouting", "services", "service"]
    assert (services.tried, len(services.skipped), services.service) == (2, 1, "demo/web:http")
    assert services.lookup is not None
    assert services.lookup.key == f"{KEY} = 10.96.0.42 . tcp . 80"
    assert services.lookup.element == f"10.96.0.42 . tcp . 80 : {services.verdict}"
    assert services.lookup.elements > 10
    assert f"must have been {number}, so the destination becomes {endpoint}" in drawn(journey).text
    assert (one(journey, "DNAT").rule, one(journey, "DNAT").table) == (drawn(journey).rule, "kube-proxy")
    assert kinds(journey) == ["DNAT", "delivered"]
    assert one(journey, "delivered").node == ("web-1" if endpoint == OWN[0] else "web-2")
    assert (one(journey, "reverse NAT", "reply").hook, answered_as(journey)) == ("POSTROUTING", WEB)


def test_clusterip_endpoint_on_the_other_node(nft_lab: Session) -> None:
    """The other node only routes: its maps hold no pod address, and its chains end with the lookup that missed."""
    journey = trace(nft_lab, syn("10.96.0.42"), "client", to(*OTHER))
    there = [hop for hop in journey.hops if hop.node == "node-b" and hop.chain == "services"]
    checked = next(hop for hop in journey.hops if hop.node == "node-b" and hop.chain == "service-endpoints-check")

    assert [(hop.kind, hop.verdict, len(hop.skipped)) for hop in there] == [("chain", "return", there[0].tried)]
    assert (checked.lookup and (checked.lookup.map, checked.lookup.element)) == ("no-endpoint-services", None)
    assert kinds(journey) == ["DNAT", "delivered"]
    assert {hop.node for hop in journey.hops if hop.kind == "reverse NAT"} == {"node-a"}
    assert answered_as(journey) == WEB


def test_hairpin(nft_lab: Session) -> None:
    """The set hairpin-connections holds the pod and itself, so the pod is masqueraded."""
    journey = trace(nft_lab, syn("10.96.0.42"), "web-1", to("10.244.1.10:8080"))
    hairpin = asked(journey, "hairpin-connections")

    assert kinds(journey) == ["DNAT", "SNAT", "delivered"]
    assert hairpin.lookup is not None
    assert hairpin.lookup.element == "10.244.1.10 . 10.244.1.10 . tcp . 8080"
    assert "hairpin" in hairpin.text
    assert [hop.hook for hop in journey.hops if hop.kind == "reverse NAT"] == ["PREROUTING", "POSTROUTING"]
    assert one(journey, "SNAT").after.src.startswith("10.244.1.1:")
    assert answered_as(journey) == WEB


def test_nodeport_from_outside(nft_lab: Session) -> None:
    """Found in service-nodeports, marked, DNATed, masqueraded; undone on the same node, both ways."""
    journey = trace(nft_lab, syn("192.168.50.10", 30030), "outside", to(*OTHER))
    ports = asked(journey, "service-nodeports")
    undone = [(hop.node, hop.hook) for hop in journey.hops if hop.kind == "reverse NAT"]
    marked = next(hop for hop in journey.hops if hop.after.mark == 0x4000)

    assert chains(journey)[1:6] == ["nat-prerouting", "services", "external", "external", "service"]
    assert ports.lookup is not None
    assert (ports.lookup.key, ports.service) == ("meta l4proto . th dport = tcp . 30030", "demo/shop:http")
    assert (marked.before.mark, marked.rule) == (0, 'meta mark set meta mark | 0x00004000 comment "masquerade"')
    assert kinds(journey) == ["DNAT", "SNAT", "delivered"]
    assert undone == [("node-a", "PREROUTING"), ("node-a", "POSTROUTING")]
    assert answered_as(journey) == "192.168.50.10:30030"


def test_nodeport_with_external_traffic_policy_local(nft_lab: Session) -> None:
    """Only endpoints of this node, and the pod sees who asked: no SNAT."""
    journey = trace(nft_lab, syn("192.168.50.10", 30031), "outside")

    assert chains(journey)[2:5] == ["services", "external", "local"]
    assert kinds(journey) == ["DNAT", "delivered"]
    assert one(journey, "DNAT").after.dst in OWN
    assert one(journey, "delivered").after.src.startswith("203.0.113.10:")
    assert answered_as(journey) == "192.168.50.10:30031"


def test_load_balancer_source_range_that_allows(nft_lab: Session) -> None:
    """firewall-ips leads to the Service's firewall chain, which has nothing against it."""
    journey = trace(nft_lab, syn("198.51.100.80"), "outside")
    passed = next(hop for hop in journey.hops if (hop.chain or "").startswith("firewall-") and "/" in (hop.chain or ""))

    assert asked(journey, "firewall-ips").service == "demo/public:http"
    assert passed.kind == "chain"
    assert "source 203.0.113.10 is inside 203.0.113.0/24" in passed.skipped[0].reason
    assert kinds(journey) == ["DNAT", "SNAT", "delivered"]
    assert answered_as(journey) == "198.51.100.80:80"


def test_load_balancer_source_range_that_does_not(nft_lab: Session) -> None:
    """The firewall chain drops before DNAT, while the destination is still the Service's: nobody is told."""
    journey = trace(nft_lab, syn("198.51.100.81"), "outside")
    dropped = one(journey, "dropped")

    assert (dropped.node, dropped.table, dropped.hook) == ("node-a", "kube-proxy", "PREROUTING")
    assert (dropped.before.dst, dropped.service) == ("198.51.100.81:80", "demo/private:http")
    assert journey.packets == 1
    assert "no answer" in journey.outcome


def test_a_nodes_own_process(nft_lab: Session) -> None:
    """OUTPUT, not PREROUTING; marked, for a node is no pod; routed again after DNAT; turned back at INPUT."""
    journey = trace(nft_lab, syn("10.96.0.42"), "node-a", to(*OTHER))
    routes = [hop.text for hop in journey.hops if hop.kind == "route" and hop.packet == 1 and hop.node == "node-a"]

    assert chains(journey)[:4] == ["filter-output-pre-dnat", "nat-output", "services", "services"]
    assert kinds(journey) == ["DNAT", "SNAT", "delivered"]
    assert [text.startswith("routed again") for text in routes] == [False, True]
    assert [h.hook for h in journey.hops if h.kind == "reverse NAT" and h.node == "node-a"] == ["PREROUTING", "INPUT"]
    assert answered_as(journey) == WEB


def test_udp(nft_lab: Session) -> None:
    """A datagram and its echo: the key's protocol is udp, and the server says whom it saw."""
    journey = trace(nft_lab, ClientSpec("udp", "10.96.0.77:7"), "client")
    services = asked(journey, "service-ips")

    assert services.lookup is not None
    assert services.lookup.key == f"{KEY} = 10.96.0.77 . udp . 7"
    assert kinds(journey) == ["DNAT", "delivered"]
    assert "its server on 10.244.2.20:7 took it" in one(journey, "delivered").text
    assert answered_as(journey) == "10.96.0.77:7"


def test_client_ip_affinity(nft_lab: Session) -> None:
    """The first connection is drawn and kept in the endpoint's set; the second is found there."""
    first, second = (trace(nft_lab, syn("10.96.0.55"), "client-b") for _ in range(2))
    found = next(hop for hop in second.hops if hop.lookup and hop.lookup.map.startswith("affinity-") and hop.rule)
    endpoint = one(first, "DNAT").after.dst

    assert "numgen" in (drawn(first).rule or "")
    assert f"must have been {(*OWN, *OTHER).index(endpoint)}: endpoint {endpoint}" in drawn(first).text
    assert "affinity set" in next(hop.text for hop in first.hops if (hop.rule or "").startswith("update @affinity-"))
    assert one(second, "DNAT").after.dst == endpoint
    assert found.lookup is not None
    assert (found.lookup.key, found.lookup.elements) == ("ip saddr = 10.244.2.5", 1)
    assert "ClientIP affinity" in found.text


@pytest.mark.parametrize("sender", ["client", "node-a"])
def test_no_endpoints(nft_lab: Session, sender: str) -> None:
    """no-endpoint-services leads to reject-chain, and its ICMP error makes ECONNREFUSED of it."""
    journey = trace(nft_lab, syn("10.96.0.66"), sender)
    rejected = one(journey, "rejected")
    element = asked(journey, "no-endpoint-services").lookup

    assert element is not None
    assert element.element == '10.96.0.66 . tcp . 80 comment "demo/cart:http" : goto reject-chain'
    assert (rejected.chain, rejected.service) == ("reject-chain", "demo/cart:http")
    assert rejected.hook == ("FORWARD" if sender == "client" else "OUTPUT")
    assert one(journey, "reply", "reply").before.proto == "icmp"
    assert "ECONNREFUSED" in journey.outcome
    assert journey.hops[-1].node == sender


@pytest.mark.parametrize("layer", ["ICMP()", 'TCP(dport=81,flags="S")'])
def test_what_no_service_port_is_for(nft_lab: Session, layer: str) -> None:
    """An echo request, or a port that no Service has, to a ClusterIP: cluster-ips-check rejects it, unlike iptables."""
    journey = trace(nft_lab, parse_expression(f'IP(dst="10.96.0.42")/{layer}'), "client")
    missed = next(hop for hop in journey.hops if hop.chain == "services")
    rejected = one(journey, "rejected")

    assert missed.kind == "chain"
    assert "10.96.0.42" in missed.skipped[1].reason
    assert kinds(journey) == ["rejected"]
    assert (rejected.chain, rejected.hook) == ("cluster-ips-check", "FORWARD")
    assert asked(journey, "cluster-ips").chain == "cluster-ips-check"
    assert "ICMP port unreachable" in journey.outcome


def test_ipv6(nft_lab: Session) -> None:
    """The same story in table ip6 kube-proxy."""
    journey = trace(nft_lab, syn("fd00:10:96::42"), "client")
    services = asked(journey, "service-ips")

    assert services.lookup is not None
    assert services.lookup.key == "ip6 daddr . meta l4proto . th dport = fd00:10:96::42 . tcp . 80"
    assert kinds(journey) == ["DNAT", "delivered"]
    assert "must have been" in drawn(journey).text
    assert answered_as(journey) == "[fd00:10:96::42]:80"


def test_a_real_connection(nft_lab: Session) -> None:
    """All packets of curl's connection are followed, and those after the first never enter a chain of type nat."""
    journey = trace(nft_lab, ClientSpec("curl", f"http://{WEB}/"), "client")
    hooks = [hop for hop in journey.hops if hop.kind == "hook" and hop.hook in ("PREROUTING", "POSTROUTING")]

    assert journey.packets >= 8
    assert {hop.packet for hop in journey.hops if (hop.chain or "").startswith("nat-")} == {1}
    assert all("nat is not consulted" in hop.text for hop in hooks if hop.packet > 1)
    assert "curl ended with status 0" in journey.outcome
    assert answered_as(journey) == WEB


FOREIGN = """
table inet filter {
  set clients { type ipv4_addr; flags interval; elements = { 10.244.1.0/28, 10.244.2.5 } }
  map ports { type inet_service : verdict; flags interval; elements = { 8000-8100 : accept, 8443 : jump audit } }
  chain audit {
    meta mark set 0x7
    tcp flags & (syn | ack) == syn ct state { new, untracked } counter
  }
  chain forward {
    type filter hook forward priority 10; policy drop;
    ct state established,related accept
    ip saddr != @clients drop
    meta l4proto { tcp, udp } th dport vmap @ports
    meta mark 0x7 iifname "veth-*" ip daddr 10.244.1.0/24 limit rate 1000/second meta l4proto tcp reject with tcp reset
  }
}
"""


def test_rules_that_are_nobodys(nft_lab: Session) -> None:
    """A table made by hand is walked beside kube-proxy's: sets, a verdict map, a mark, and what has no model."""
    made = nft_lab.execute("node-a", ("nft", "-f", "-"), FOREIGN)
    assert (made.status, made.stderr) == (0, "")
    try:
        refused = trace(nft_lab, syn("10.96.0.20", 443), "client")
        allowed = trace(nft_lab, syn("10.244.1.11", 8080), "client")
        theirs = [hop for hop in refused.hops if hop.table == "filter" and hop.packet == 1]
        hook = next(hop for hop in refused.hops if hop.kind == "hook" and hop.hook == "FORWARD" and hop.packet == 1)

        assert [(hop.kind, hop.chain, hop.verdict) for hop in theirs] == [
            ("rule", "forward", "jump audit"),
            ("rule", "audit", "continue"),
            ("rule", "audit", "continue"),
            ("chain", "audit", "return"),
            ("rule", "forward", "reject"),
            ("rejected", "forward", "reject"),
        ]
        assert "filter-forward (ip kube-proxy) and forward (inet filter)" in hook.text
        assert [skip.reason for skip in theirs[0].skipped] == [
            "ct state is new, not established,related",
            "set clients holds 10.244.1.5 (the rule wants any other)",
        ]
        assert one(refused, "rejected").before.mark == 0x7
        assert "RST" in refused.outcome
        element = asked(allowed, "ports").lookup
        assert (element and element.element, asked(allowed, "ports").verdict) == ("8000-8100 : accept", "accept")
        assert kinds(allowed) == ["delivered"]
    finally:
        nft_lab.execute("node-a", ("nft", "delete", "table", "inet", "filter"))
