"""Rules that ask an ipset: the member that answered, in the hop and in its sentence."""

# ruff: noqa: E501 - rules and sentences stand as they are printed

from __future__ import annotations

from collections.abc import Callable

import pytest

from kplab.model.journey import Lookup
from kplab.model.packet import Headers
from kplab.model.ruleset import IpSet, Rule
from kplab.rules.options import read_rule
from kplab.trace.explain_ipvs import found_in_set, ipvs_meaning
from kplab.trace.journey import tell
from kplab.trace.match_set import set_lookup
from kplab.trace.match_state import NodeView
from kplab.trace.recording import Recording

pytestmark = pytest.mark.unit

POD = Headers(4, "10.244.1.5", "10.96.0.42", "tcp", sport=40000, dport=80, flags="S", length=40)
SETS = {
    each.name: each
    for each in (
        IpSet("KUBE-CLUSTER-IP", "hash:ip,port", 4, frozenset({"10.96.0.42,tcp:80", "10.96.0.10,udp:53"})),
        IpSet("KUBE-LOOP-BACK", "hash:ip,port,ip", 4, frozenset({"10.96.0.42,tcp:80,10.244.1.5"})),
        IpSet("KUBE-NODE-PORT-TCP", "bitmap:port", 4, frozenset({"80"})),
        IpSet("KUBE-LOAD-BALANCER-FW", "hash:ip,port", 4, frozenset({"10.96.0.42,tcp:80"})),
        IpSet("KUBE-LOAD-BALANCER-SOURCE-CIDR", "hash:ip,port,net", 4,
              frozenset({"10.96.0.42,tcp:80,10.244.0.0/16", "10.96.0.42,tcp:80,10.244.1.0/24"})),
        IpSet("KUBE-IPVS-IPS", "hash:ip", 4, frozenset({"10.96.0.42"})),
    )
}  # fmt: skip
NODE = NodeView(sets=SETS)


def rule(text: str) -> Rule:
    """A rule as iptables-save prints it."""
    return Rule(text.split()[1], 1, text, read_rule)


@pytest.mark.parametrize(
    ("text", "lookup"),
    [
        ("-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT",
         Lookup("KUBE-CLUSTER-IP", "dst ip . dst port = 10.96.0.42 . tcp:80", "10.96.0.42,tcp:80", 2)),
        ("-A KUBE-POSTROUTING -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE",
         Lookup("KUBE-LOOP-BACK", "dst ip . dst port . src ip = 10.96.0.42 . tcp:80 . 10.244.1.5", "10.96.0.42,tcp:80,10.244.1.5", 1)),
        ("-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ",
         Lookup("KUBE-NODE-PORT-TCP", "dst port = 80", "80", 1)),
        ("-A KUBE-SOURCE-RANGES-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-SOURCE-CIDR dst,dst,src -j RETURN",
         Lookup("KUBE-LOAD-BALANCER-SOURCE-CIDR", "dst ip . dst port . src net = 10.96.0.42 . tcp:80 . 10.244.1.5",
                "10.96.0.42,tcp:80,10.244.1.0/24", 2)),
        ("-A KUBE-SERVICES -m set ! --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT", None),
        ("-A KUBE-SERVICES -m set --match-set UNREAD dst,dst -j ACCEPT", None),
        ("-A KUBE-SERVICES -j ACCEPT", None),
    ],
)  # fmt: skip
def test_what_a_set_was_asked_and_answered(text: str, lookup: Lookup | None) -> None:
    """The key with its fields named, and the member as ipset prints it; of networks the narrowest."""
    assert set_lookup(rule(text), POD, NODE) == lookup


@pytest.mark.parametrize(
    ("table", "text", "words"),
    [
        ("nat", "-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT",
         "one lookup in the set KUBE-CLUSTER-IP (2 members) found 10.96.0.42,tcp:80; it is for a Service's ClusterIP, so nat lets it go as it is: not a rule, but IPVS will choose the endpoint"),
        ("nat", "-A KUBE-SERVICES ! -s 10.244.0.0/24 -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ",
         "the sender 10.244.1.5 is no pod, so it is marked"),
        ("nat", "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT",
         "10.96.0.42 is an address of this node, its own or one that kube-ipvs0 holds"),
        ("nat", "-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ",
         "one lookup in the set KUBE-NODE-PORT-TCP (1 member) found 80; 80 is a NodePort whose endpoint may be on another node"),
        ("nat", "-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j RETURN", "the endpoint shall see who asked"),
        ("nat", "-A KUBE-POSTROUTING -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE", "(hairpin)"),
        ("filter", "-A INPUT -j KUBE-IPVS-FILTER", "every packet goes on to KUBE-IPVS-FILTER, the chain that refuses"),
        ("filter", "-A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN",
         "it is for a port of a Service's ClusterIP, so it may pass"),
        ("filter", "-A KUBE-IPVS-FILTER -m set --match-set KUBE-IPVS-IPS dst -j REJECT --reject-with icmp-port-unreachable",
         "10.96.0.42 is a Service's address on kube-ipvs0, and no set held it with this port, so it is rejected with icmp-port-unreachable"),
        ("filter", "-A KUBE-IPVS-OUT-FILTER -s 10.244.1.5/32 -m ipvs --vproto 6 --vaddr 10.244.1.5 --vport 80 -j DROP", "leave it out"),
        ("filter", "-A KUBE-PROXY-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-FW dst,dst -j KUBE-SOURCE-RANGES-FIREWALL",
         "so the source is looked at"),
        ("filter", "-A KUBE-SOURCE-RANGES-FIREWALL -j DROP", "in none of the loadBalancerSourceRanges, so it is dropped"),
    ],
)  # fmt: skip
def test_what_ipvs_modes_rules_are_for(table: str, text: str, words: str) -> None:
    """Each of kube-proxy's fixed rules says what it is for, and which member brought the packet to it."""
    one = rule(text)
    lookup = set_lookup(one, POD, NODE)

    assert words in f"{found_in_set(lookup)}{ipvs_meaning(one, table, POD, lookup)}"


def test_rules_of_other_modes_are_left_alone() -> None:
    """The chains that iptables mode has as well keep their own sentences."""
    for text in ("-A KUBE-PROXY-FIREWALL -d 10.96.0.42/32 -j DROP", "-A KUBE-SVC-X -j KUBE-MARK-MASQ", "-A INPUT -j X"):
        assert ipvs_meaning(rule(text), "filter", POD, None) is None


@pytest.mark.parametrize("name", ["lab-ipvs-syn", "lab-ipvs-host-curl"])
def test_a_journeys_hops_hold_the_members(load: Callable[[str], Recording], name: str) -> None:
    """The rule that ends nat for a ClusterIP, and the one that lets it pass INPUT or leaves it, carry the lookup."""
    hops = [hop for hop in tell(load(name)).hops if hop.lookup is not None and hop.packet == 1]

    assert {(hop.lookup and hop.lookup.map, hop.lookup and hop.lookup.element) for hop in hops} == {
        ("KUBE-CLUSTER-IP", "10.96.0.42,tcp:80")
    }
    assert all("found 10.96.0.42,tcp:80; " in hop.text for hop in hops)
