"""Trace messages of one namespace, grouped into lives of single packets."""

from __future__ import annotations

from itertools import count

import pytest
from scapy.layers.inet import IP, TCP

from kplab.trace.events import Hook, KernelEvent, LegacyTrace, NftTrace
from kplab.trace.lives import find_lives, hook_of

pytestmark = pytest.mark.unit

LAB = frozenset({("kplab-trace", "prerouting-first"), ("kplab-trace", "prerouting-last")})
_numbers = count(1)


def syn(seq: int = 1, dst: str = "10.96.0.42") -> bytes:
    """A SYN; its sequence number tells it from others."""
    return bytes(IP(src="10.244.1.5", dst=dst, id=1) / TCP(sport=40000, dport=80, flags="S", seq=seq))


def nft(chain: str, packet: bytes = b"", *, table: str = "filter", trace_id: int = 7) -> KernelEvent:
    """One nf_tables message: the policy of a chain."""
    what = NftTrace(trace_id, "ip", table, chain, "policy", "accept", packet=packet)
    n = next(_numbers)
    return KernelEvent(n, n, "node-a", what)


def legacy(table: str, hook: Hook, packet: bytes, *, chain: str = "", kind: str = "policy") -> KernelEvent:
    """One line of iptables-legacy's TRACE."""
    what = LegacyTrace("ip", table, chain or hook, "policy" if kind == "policy" else "rule", 1, hook, packet=packet)
    n = next(_numbers)
    return KernelEvent(n, n, "node-a", what)


def test_one_packet_with_nat_is_one_life() -> None:
    """DNAT changes addresses and ports; the life goes on."""
    lives = find_lives(
        "node-a",
        [
            nft("PREROUTING", syn(), table="nat"),
            nft("FORWARD", syn(dst="10.244.1.10")),
            nft("POSTROUTING", syn(dst="10.244.1.10"), table="nat"),
        ],
        LAB,
    )

    assert [life.hooks() for life in lives] == [["PREROUTING", "FORWARD", "POSTROUTING"]]


@pytest.mark.parametrize(
    ("after", "shown"),
    [
        ([], False),
        ([nft("PREROUTING", syn(), table="raw")], False),
        ([legacy("mangle", "PREROUTING", syn())], False),
        ([nft("prerouting-last", syn(), table="kplab-trace")], True),
        ([nft("FORWARD", syn())], True),
    ],
    ids=["nothing", "raw", "legacy", "last", "forward"],
)
def test_a_message_from_behind_conntrack_shows_its_state(after: list[KernelEvent], shown: bool) -> None:
    """What nf_tables says before conntrack, and what iptables-legacy says anywhere, tells no state."""
    (life,) = find_lives("node-a", [nft("prerouting-first", syn(), table="kplab-trace"), *after], LAB)

    assert life.is_shown_tracked is shown


def test_a_trace_id_that_comes_back_is_another_life() -> None:
    """The id is derived from the skb's address: other headers under the same id are another packet."""
    lives = find_lives("node-a", [nft("PREROUTING", syn(1)), nft("PREROUTING", syn(2))], LAB)

    assert len(lives) == 2


def test_the_same_packet_again_under_the_same_id_is_another_life() -> None:
    """A retransmitted SYN-ACK is equal to the bit; a base chain that is seen again starts anew."""
    lives = find_lives("node-a", [nft("PREROUTING", syn()), nft("FORWARD", syn()), nft("PREROUTING", syn())], LAB)

    assert [life.hooks() for life in lives] == [["PREROUTING", "FORWARD"], ["PREROUTING"]]


def test_an_impossible_order_of_hooks_is_another_life() -> None:
    """Nothing comes to FORWARD from POSTROUTING, nor to PREROUTING from FORWARD."""
    events = [nft("POSTROUTING", syn(), table="nat"), nft("FORWARD", syn())]

    assert len(find_lives("node-a", events, LAB)) == 2


def test_two_packets_at_once_are_told_apart_by_id() -> None:
    """Two CPUs work on two packets, and their messages interleave."""
    lives = find_lives(
        "node-a",
        [
            nft("PREROUTING", syn(1), trace_id=1),
            nft("PREROUTING", syn(2), trace_id=2),
            nft("FORWARD", syn(1), trace_id=1),
            nft("FORWARD", syn(2), trace_id=2),
        ],
        LAB,
    )

    assert [life.hooks() for life in lives] == [["PREROUTING", "FORWARD"]] * 2


def test_messages_without_headers_belong_to_the_visit_before() -> None:
    """Only a packet's first message in a base chain carries headers."""
    (life,) = find_lives("node-a", [nft("PREROUTING", syn()), nft("KUBE-SERVICES"), nft("PREROUTING")], LAB)

    assert [len(visit.events) for visit in life.visits] == [3]


def test_a_message_before_any_headers_is_passed_over() -> None:
    """Its packet's beginning was lost; it makes no life of its own."""
    assert find_lives("node-a", [nft("KUBE-SERVICES")], LAB) == []


def test_legacy_lines_are_grouped_by_the_packets_own_numbers() -> None:
    """iptables-legacy has no id: two packets that interleave are told apart by what they are."""
    one, other = syn(1), syn(2)
    lives = find_lives(
        "node-a",
        [
            legacy("nat", "PREROUTING", one, kind="rule"),
            legacy("nat", "PREROUTING", other, kind="rule"),
            legacy("nat", "PREROUTING", one, chain="KUBE-SERVICES", kind="rule"),
            legacy("filter", "FORWARD", one),
            legacy("filter", "FORWARD", other),
        ],
        LAB,
    )

    assert [[(v.table, len(v.events)) for v in life.visits] for life in lives] == [
        [("nat", 2), ("filter", 1)],
        [("nat", 1), ("filter", 1)],
    ]


def test_legacy_the_same_packet_again() -> None:
    """A visit that ended by its policy, and comes again, is another life."""
    packet = syn()
    events = [legacy("mangle", "FORWARD", packet), legacy("filter", "FORWARD", packet)] * 2

    assert len(find_lives("node-a", events, LAB)) == 2


@pytest.mark.parametrize("swap", [False, True])
def test_both_sockets_make_one_life_in_whatever_order_they_are_read(swap: bool) -> None:
    """The lab's own chains come by nf_tables, the rules by NFLOG; hook and priority put them in order."""
    lab = [nft("prerouting-first", syn(), table="kplab-trace"), nft("prerouting-last", syn(), table="kplab-trace")]
    rules = [legacy("mangle", "PREROUTING", syn()), legacy("nat", "PREROUTING", syn())]
    (life,) = find_lives("node-a", rules + lab if swap else lab + rules, LAB)

    assert [visit.chain if visit.lab else visit.table for visit in life.visits] == [
        "prerouting-first",
        "mangle",
        "nat",
        "prerouting-last",
    ]


def test_hook_of_a_chain() -> None:
    """Base chains of iptables are named as their hooks; the lab's begin with them; others say nothing."""
    assert [hook_of(name) for name in ("PREROUTING", "output-last", "KUBE-SERVICES")] == ["PREROUTING", "OUTPUT", None]
