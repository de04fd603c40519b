"""Whether a rule matches a packet, and the words for why it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from kplab.model.packet import Headers
from kplab.model.ruleset import Rule
from kplab.rules.ipset_save import parse_ipset_save
from kplab.rules.options import read_rule
from kplab.trace.matching import MET, NodeView, Probe, Unknowable, Unmet, try_rule

pytestmark = pytest.mark.unit

SETS = """
create KUBE-CLUSTER-IP hash:ip,port family inet
add KUBE-CLUSTER-IP 10.96.0.20,tcp:80
create LOOP hash:ip,port,ip family inet
add LOOP 10.96.0.42,tcp:80,10.244.1.5
create SOURCES hash:ip,port,net family inet
add SOURCES 10.96.0.42,tcp:80,10.244.0.0/16
create BLOCKED hash:net family inet
add BLOCKED 10.0.0.0/8
add BLOCKED 10.244.0.0/16 nomatch
create NODE-PORTS bitmap:port range 0-65535
add NODE-PORTS 80
create MACS hash:mac
"""

NODE = NodeView.read(
    addresses=["192.168.50.10", "10.244.1.1", "127.0.0.1", "::1", "fd00:0:0::10", "fe80::1%eth0"],
    routes=[
        "default via 192.168.50.1 dev eth0",
        "192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.10",
        "local 10.250.0.0/16 dev lo",
    ],
    recent=[
        ("HELD", "src=10.244.1.5 ttl: 64 last_seen: 4295 oldest_pkt: 1 4295\n"),
        ("EMPTY", ""),
    ],
    sets=parse_ipset_save(SETS),
)

TCP = Headers(4, "10.244.1.5", "10.96.0.42", "tcp", sport=40000, dport=80, flags="S")
UDP = Headers(4, "10.244.1.5", "10.96.0.42", "udp", sport=40000, dport=53)
PING = Headers(4, "10.244.1.5", "10.96.0.42", "icmp", icmp_type=8, icmp_code=0)
TAIL = Headers(4, "10.244.1.5", "10.96.0.42", "tcp", fragment=True)
SIX = Headers(6, "fd00::5", "fd00:10:96::42", "tcp", sport=40000, dport=80, flags="SA")


def probe(headers: Headers = TCP, **state: Any) -> Probe:
    """Return a packet at a hook of node-a."""
    return Probe(headers, node=NODE, **{"ct_state": "new", "ct_status": 0, "iif": "veth1", **state})


def rule(options: str) -> Rule:
    """Return a rule."""
    return Rule("X", 1, f"-A X {options} -j ACCEPT", read_rule)


UNMET: list[tuple[str, Probe, str]] = [
    ("-d 10.96.0.10/32", probe(), "dst is 10.96.0.42, not 10.96.0.10"),
    ("! -s 10.244.1.5/32", probe(), "src is 10.244.1.5 (the rule wants any other)"),
    ("! -s 10.244.0.0/16", probe(), "source 10.244.1.5 is inside 10.244.0.0/16 (the rule wants outside)"),
    ("-d 10.97.0.0/16", probe(), "destination 10.96.0.42 is outside 10.97.0.0/16"),
    ("-d fd00:10:96::10/128", probe(SIX), "dst is fd00:10:96::42, not fd00:10:96::10"),
    ("-p udp", probe(), "proto is tcp, not udp"),
    ("! -p tcp", probe(), "proto is tcp (the rule wants any other than tcp)"),
    ("-p tcp -m tcp --dport 443", probe(), "dport is 80, not 443"),
    ("-p tcp -m multiport --dports 443,8000:8080", probe(), "dport is 80, not one of 443,8000:8080"),
    ("-p tcp -m tcp ! --dport 80", probe(), "dport is 80 (the rule wants any other than 80)"),
    ("-p tcp -m multiport --ports 22", probe(), "port is 40000 or 80, not 22"),
    ("-p tcp -m tcp --dport 80", probe(TAIL), "a fragment has no ports"),
    ("-p tcp -m tcp ! --dport 80", probe(TAIL), "a fragment has no ports"),
    ("-i eth0", probe(), "in interface is veth1, not eth0"),
    ("! -i veth+", probe(), "in interface is veth1 (the rule wants any other than veth+)"),
    ("-o eth0", probe(), "there is no out interface here; the rule wants eth0"),
    ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", probe(SIX), "flags are SA, not S of FSRA"),
    ("-p tcp -m tcp ! --syn", probe(), "flags are S (the rule wants other than S of FSRA)"),
    ("-p icmp -m icmp --icmp-type 0", probe(PING), "icmp type is 8/0, not 0"),
    ("-m mark --mark 0x4000/0x4000", probe(), "mark 0x0 lacks 0x4000/0x4000"),
    ("-m mark ! --mark 0x4000/0x4000", probe(mark=0x4000), "mark 0x4000 has 0x4000/0x4000 (the rule wants it without)"),
    ("-m mark --mark 0x5", probe(mark=4), "mark is 0x4, not 0x5"),
    ("-m connmark --mark 0x1/0x1", probe(ct_mark=2), "conntrack mark 0x2 lacks 0x1/0x1"),
    ("-m conntrack --ctstate RELATED,ESTABLISHED", probe(), "ctstate is NEW, not RELATED,ESTABLISHED"),
    ("-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT", probe(ct_status=1 << 5),
     "ctstate is NEW,DNAT (the rule wants none of RELATED,ESTABLISHED,DNAT)"),
    ("-m addrtype --dst-type LOCAL", probe(), "addrtype: 10.96.0.42 is not local to this node"),
    ("-m addrtype ! --dst-type LOCAL", probe(msgspec.structs.replace(TCP, dst="192.168.50.10")),
     "addrtype: 192.168.50.10 is local to this node (the rule wants others)"),
    ("-m addrtype --dst-type MULTICAST", probe(), "addrtype: 10.96.0.42 is UNICAST, not MULTICAST"),
    ("-m recent --rcheck --name EMPTY --rsource", probe(), "recent list EMPTY does not hold 10.244.1.5"),
    ("-m recent --rcheck --seconds 9 --name EMPTY --rsource", probe(), "recent list EMPTY does not hold 10.244.1.5"),
    ("-m recent ! --rcheck --name HELD --rsource", probe(), "recent list HELD holds 10.244.1.5"),
    ("-m set --match-set KUBE-CLUSTER-IP dst,dst", probe(), "set KUBE-CLUSTER-IP does not hold 10.96.0.42,tcp:80"),
    ("-m set ! --match-set LOOP dst,dst,src", probe(), "set LOOP holds 10.96.0.42,tcp:80,10.244.1.5"),
    ("-m set --match-set NODE-PORTS src", probe(), "set NODE-PORTS does not hold 40000"),
    ("-m set --match-set NODE-PORTS dst", probe(PING), "set NODE-PORTS does not hold icmp without a port"),
    ("-m physdev --physdev-is-in", probe(bridged=False), "no bridge brought the packet (--physdev-is-in)"),
    ("-m set --match-set BLOCKED src", probe(), "set BLOCKED does not hold 10.244.1.5"),
    ("-d 10.96.0.10/32 -p udp -m udp --dport 53", probe(), "dst is 10.96.0.42, not 10.96.0.10"),
    ("-m statistic --mode random --probability 0.5 -p udp", probe(), "proto is tcp, not udp"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "packet", "reason"), UNMET, ids=[options for options, _, _ in UNMET])
def test_the_first_thing_that_does_not_match_is_named_with_both_values(
    options: str, packet: Probe, reason: str
) -> None:
    """A reason says what the packet has and what the rule wants."""
    assert try_rule(rule(options), packet) == Unmet(reason)


MET_CASES: list[tuple[str, Probe]] = [
    ("", probe()),
    ("-s 10.244.0.0/16 -d 10.96.0.42/32 -i veth+ ! -o eth0 -p tcp -m tcp --dport 80", probe()),
    ("-p tcp -m tcp --dport 1:80 --sport 40000", probe()),
    ("-p tcp -m multiport --ports 80", probe()),
    ("! -p udp", probe(PING)),
    ("-p icmp -m icmp --icmp-type 8/0", probe(PING)),
    ("-p icmp -m icmp --icmp-type any", probe(PING)),
    ("-p tcp -m tcp --syn", probe()),
    ("-p tcp -m tcp --tcp-flags SYN,ACK SYN,ACK -d fd00:10:96::/112", probe(SIX)),
    ("-m mark --mark 0x4000/0x4000", probe(mark=0x5000)),
    ("-m conntrack --ctstate DNAT", probe(ct_status=1 << 5)),
    ("-m conntrack --ctstate INVALID", probe(ct_state="invalid", ct_status=None)),
    ("-m addrtype --dst-type LOCAL", probe(msgspec.structs.replace(TCP, dst="127.8.8.8"))),
    ("-m addrtype --dst-type LOCAL", probe(msgspec.structs.replace(TCP, dst="10.250.3.4"))),
    ("-m addrtype --dst-type LOCAL", probe(msgspec.structs.replace(SIX, dst="fd00::10"))),
    ("-m addrtype --dst-type BROADCAST", probe(msgspec.structs.replace(TCP, dst="192.168.50.255"))),
    ("-m addrtype --src-type UNICAST", probe()),
    ("-m recent --set --name ANY --rsource", probe()),
    ("-m recent --rcheck --name HELD --rsource", probe()),
    ("-m set --match-set KUBE-CLUSTER-IP dst,dst", probe(msgspec.structs.replace(TCP, dst="10.96.0.20"))),
    ("-m set --match-set SOURCES dst,dst,src", probe()),
    ("-m set --match-set BLOCKED dst", probe()),
    ("-m set --match-set NODE-PORTS dst", probe()),
    ("-m set ! --match-set NODE-PORTS dst", probe(PING)),
    ("-m physdev ! --physdev-is-in", probe(bridged=False)),
    ('-m comment --comment "anything" -m nfacct --nfacct-name  x', probe()),
]


@pytest.mark.parametrize(("options", "packet"), MET_CASES, ids=[options or "none" for options, _ in MET_CASES])
def test_a_rule_matches_when_all_of_it_holds(options: str, packet: Probe) -> None:
    """Every condition holds, so the rule matches."""
    assert try_rule(rule(options), packet) is MET


UNKNOWABLE: list[tuple[str, Probe, str]] = [
    ("-m statistic --mode random --probability 0.33333333349", probe(), "the draw: probability 0.333"),
    ("-m statistic --mode nth --every 3 --packet 1", probe(), "the draw: packet 1 of every 3"),
    ("-m limit --limit 5/min", probe(), "`-m limit --limit 5/min` is not understood"),
    ("-m conntrack --ctstate NEW", probe(ct_state=None), "the conntrack state is not known"),
    ("-m conntrack --ctstate DNAT", probe(ct_status=None), "whether the connection is translated is not known"),
    ("-m mark --mark 1", replace(probe(), mark_known=False), "the mark is not known"),
    ("-m connmark --mark 1", probe(), "the conntrack mark is not known"),
    ("-m addrtype --dst-type LOCAL", Probe(TCP), "the node's own addresses were not read"),
    ("-m addrtype --dst-type BLACKHOLE", probe(), "addrtype BLACKHOLE needs the kernel's route look-up"),
    ("-m recent --rcheck --name OTHER", probe(), "the recent list OTHER was not read"),
    ("-m recent --rcheck --seconds 60 --name HELD", probe(),
     "recent list HELD holds 10.244.1.5; whether within 60 s is not known"),
    ("-m set --match-set NOBODY dst", probe(), "set NOBODY was not read"),
    ("-m set --match-set MACS src", probe(), "a set of type hash:mac is not understood"),
    ("-m physdev --physdev-is-in", probe(), "whether a bridge brought the packet is not known (--physdev-is-in)"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "packet", "reason"), UNKNOWABLE, ids=[options for options, _, _ in UNKNOWABLE])
def test_what_cannot_be_known_is_said_and_not_guessed(options: str, packet: Probe, reason: str) -> None:
    """A draw, an unknown match and unread state are unknowable, with the reason."""
    outcome = try_rule(rule(options), packet)
    assert isinstance(outcome, Unknowable)
    assert outcome.reason == reason


def test_another_family_never_matches_by_accident() -> None:
    """An IPv6 network whose number is small does not match an IPv4 address."""
    assert try_rule(rule("-d ::/0"), probe()) == Unmet("destination 10.96.0.42 is not of IPv6")


def test_lines_of_a_nodes_state_that_cannot_be_read_count_for_nothing() -> None:
    """A default route, an odd word or a cut line is passed over; what can be read still counts."""
    node = NodeView.read(
        ["10.0.0.1", "dummy"], ["local default dev lo", "", "local", "broadcast x", "x proto kernel scope link"],
        [("L", "src=10.0.0.9 ttl: 1\nsrc=\nsrc=zero ttl: 2\n")],
    )  # fmt: skip
    assert node.addresses == frozenset({"10.0.0.1"})
    assert [str(network) for network in node.local] == ["127.0.0.0/8"]
    assert node.recent["L"] == frozenset({"10.0.0.9"})
