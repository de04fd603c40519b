"""Sentences: each says exactly what happened, in words that an engineer new to this can use."""

# ruff: noqa: E501 - rules and sentences stand as they are printed

from __future__ import annotations

import pytest

from kplab.model.journey import Flow
from kplab.model.packet import Headers
from kplab.model.ruleset import Rule
from kplab.rules.options import read_rule
from kplab.trace import explain
from kplab.trace.entries import Entry
from kplab.trace.events import Tuple
from kplab.trace.explain_rules import Tried, chain_sentence, rule_sentence, service_of

pytestmark = pytest.mark.unit

SYN = Headers(4, "10.244.1.5", "10.96.0.42", "tcp", sport=40000, dport=80, flags="S", length=40)


def tried(
    text: str, verdict: str, *, number: int = 1, over: int = 0, table: str = "nat", marks: tuple[int, int] = (0, 0)
) -> Tried:
    """A rule that matched the SYN."""
    rule = Rule(text.split()[1], number, text, read_rule)
    return Tried(rule, table, over, verdict, SYN, *marks, "PREROUTING")


@pytest.mark.parametrize(
    ("moment", "sentence"),
    [
        (
            tried('-A KUBE-SERVICES -d 10.96.0.42/32 -p tcp -m comment --comment "demo/web:http cluster IP" -m tcp --dport 80 '
                  "-j KUBE-SVC-XRY76EGRC3BSCIIJ", "jump KUBE-SVC-XRY76EGRC3BSCIIJ", number=7, over=6),
            "KUBE-SERVICES: rule 7 matched after 6 that did not: it is demo/web:http's ClusterIP 10.96.0.42:80, so the packet "
            "goes on in KUBE-SVC-XRY76EGRC3BSCIIJ.",
        ),
        (
            tried('-A KUBE-SVC-X -m comment --comment "demo/web -> 10.244.1.10:8080" -m statistic --mode random '
                  "--probability 0.33333333349 -j KUBE-SEP-Y", "jump KUBE-SEP-Y"),
            "KUBE-SVC-X: rule 1 matched: the kernel's draw (1 in 3) fell on endpoint 10.244.1.10:8080, so the packet goes on "
            "in KUBE-SEP-Y.",
        ),
        (
            tried('-A KUBE-SVC-X -m comment --comment "demo/web -> 10.244.2.10:8080" -j KUBE-SEP-Y', "jump KUBE-SEP-Y",
                  number=4, over=3),
            "KUBE-SVC-X: rule 4 matched after 3 that did not: it is the last endpoint, 10.244.2.10:8080, and takes every "
            "packet that came so far without a draw, so the packet goes on in KUBE-SEP-Y.",
        ),
        (
            tried('-A KUBE-SEP-Y -p tcp -m comment --comment "demo/web:http" -m tcp -j DNAT --to-destination '
                  "10.244.1.10:8080", "accept", number=2, over=1),
            "KUBE-SEP-Y: rule 2 matched after 1 that did not: the destination becomes 10.244.1.10:8080; DNAT ends the nat "
            "table for this packet, so nothing returns to the chains that led here.",
        ),
        (
            tried("-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000", "continue", marks=(0, 0x4000)),
            "KUBE-MARK-MASQ: rule 1 matched: the mark becomes 0x4000: POSTROUTING will masquerade this packet; the next rule "
            "is tried.",
        ),
        (
            tried("-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN", "return"),
            "KUBE-POSTROUTING: rule 1 matched: the packet does not bear the mark 0x4000, so there is nothing to masquerade.",
        ),
        (
            tried('-A KUBE-SERVICES -d 10.96.0.66/32 -p tcp -m comment --comment "demo/cart:http has no endpoints" -m tcp '
                  "--dport 80 -j REJECT --reject-with icmp-port-unreachable", "reject", table="filter"),
            "KUBE-SERVICES: rule 1 matched: demo/cart:http has no endpoints, so it is rejected with icmp-port-unreachable.",
        ),
        (
            tried('-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "demo/shop-local:http has no local endpoints" -m '
                  "addrtype --dst-type LOCAL -m tcp --dport 30031 -j DROP", "drop", table="filter"),
            "KUBE-EXTERNAL-SERVICES: rule 1 matched: demo/shop-local:http has no endpoint on this node, and its traffic "
            "policy is Local, so it is dropped, and nobody is told.",
        ),
        (
            tried("-A MINE -p tcp -j LOG", "continue", table="filter"),
            "MINE: rule 1 matched: target LOG; the next rule is tried.",
        ),
        (
            tried("-A MINE -p tcp -j OTHER", "jump OTHER", table="filter"),
            "MINE: rule 1 matched: its conditions hold, so the packet goes on in OTHER.",
        ),
    ],
    ids=lambda value: value.rule.target.name if isinstance(value, Tried) else "",
)  # fmt: skip
def test_rules(moment: Tried, sentence: str) -> None:
    """Which rule, after how many, what it is for, and where the packet goes on."""
    assert rule_sentence(moment) == sentence


@pytest.mark.parametrize(
    ("comment", "service"),
    [
        ("demo/web:http cluster IP", "demo/web:http"),
        ("demo/web -> 10.244.1.10:8080", "demo/web"),
        ("masquerade traffic for demo/shop:http external destinations", "demo/shop:http"),
        ("demo/private:http traffic not accepted by KUBE-FW-FXZUIBY4TDRNF5BH", "demo/private:http"),
        ("kubernetes service portals", None),
        ("kubernetes service nodeports; NOTE: this must be the last rule in this chain", None),
    ],
)
def test_service_is_read_from_the_comment(comment: str, service: str | None) -> None:
    """kube-proxy names the service port in every rule that it writes for one."""
    rule = Rule("KUBE-SERVICES", 1, f'-A KUBE-SERVICES -m comment --comment "{comment}" -j DROP', read_rule)

    assert service_of(rule) == service


@pytest.mark.parametrize(
    ("tried_rules", "over", "words"),
    [(0, 0, "it holds no rules"), (1, 1, "its one rule did not match"), (9, 9, "none of its 9 rules matched"),
     (4, 0, "no rule is left"), (4, 1, "one more rule did not match"), (9, 3, "3 more rules did not match")],
)  # fmt: skip
def test_a_chains_end_counts_what_was_tried(tried_rules: int, over: int, words: str) -> None:
    """And says who goes on: the caller, or the policy."""
    assert chain_sentence("C", "return", tried_rules, over, "B") == f"C: {words}; the chain is at its end, back to B."
    ended = chain_sentence("C", "policy drop", tried_rules, over, None)

    assert ended == f"C: {words}, so the chain's policy decides: DROP, and the packet is dropped, and nobody is told."


def test_hooks_say_why_nat_is_silent() -> None:
    """Only where nat would have had a chance, and only for packets of a known connection."""
    entry = Entry("node-a", 7, Tuple("a", "b", "tcp", 1, 2), Tuple("b", "a", "tcp", 2, 1))

    assert "conntrack already holds entry 7" in explain.hooked("PREROUTING", "", "established", entry, "", nat=False)
    assert "relates the packet to entry 7" in explain.hooked("PREROUTING", "", "related", entry, "", nat=False)
    assert "not consulted" not in explain.hooked("FORWARD", "", "established", entry, "", nat=False)
    assert "not consulted" not in explain.hooked("PREROUTING", "", "new", None, "", nat=True)


def test_reverse_nat_names_both_halves() -> None:
    """Which end is turned back, and into whom."""
    text = explain.reversed_nat("PREROUTING", Flow("p:8080", "n:5", "tcp"), Flow("p:8080", "c:1", "tcp"), None)

    assert text == (
        "reverse NAT at PREROUTING: the destination n:5 becomes c:1 again, who really asked (SNAT undone). conntrack does it; "
        "no rule is involved."
    )


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (SYN, "TCP SYN"),
        (Headers(4, "a", "b", "tcp", flags="PA", length=90), "TCP ACK with data (90 bytes)"),
        (Headers(4, "a", "b", "tcp", flags="RA"), "TCP RST"),
        (Headers(4, "a", "b", "tcp", flags="SEC"), "TCP SYN"),
        (Headers(4, "a", "b", "udp", sport=1, dport=2), "UDP datagram"),
        (Headers(4, "a", "b", "icmp", icmp_type=3, icmp_code=3), "ICMP port unreachable"),
        (Headers(4, "a", "b", "icmp", icmp_type=42, icmp_code=1), "ICMP type 42 code 1"),
        (Headers(6, "a", "b", "icmpv6", icmp_type=1, icmp_code=4), "ICMPv6 port unreachable"),
        (Headers(4, "a", "b", "udp", fragment=True), "udp fragment"),
        (Headers(4, "a", "b", "47"), "packet of protocol 47"),
    ],
)
def test_packets_have_names(headers: Headers, words: str) -> None:
    """As an engineer would call them."""
    assert explain.what_is(headers) == words
