"""What the lab fills in of a packet, and what it leaves alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from kplab.errors import UsageError
from kplab.lab.craft import build_packet
from kplab.lab.fill import fill, source_port
from kplab.model.expression import parse_expression
from kplab.model.packet import Field, Layer, PacketSpec

pytestmark = pytest.mark.unit


@pytest.fixture
def filled() -> Callable[[str], list[tuple[str, dict[str, Any]]]]:
    """Fill an expression from fixed sources: ports from 61000, numbers 7, source 10.244.1.5."""
    ports = itertools.count(61000)

    def run(expression: str) -> list[tuple[str, dict[str, Any]]]:
        source = "fd00::5" if expression.startswith("IPv6") else "10.244.1.5"
        return fill(parse_expression(expression), lambda _: source, lambda: next(ports), lambda bits: 7)

    return run


Filled = Callable[[str], list[tuple[str, dict[str, Any]]]]


def test_every_send_is_a_new_connection(filled: Filled) -> None:
    """The source port is fresh each time: scapy's default, 20, is never used."""
    first, second = filled('IP(dst="10.96.0.42")/TCP(dport=80)'), filled('IP(dst="10.96.0.42")/TCP(dport=80)')

    assert (source_port(first), source_port(second)) == (61000, 61001)


def test_source_id_and_sequence_are_filled(filled: Filled) -> None:
    """The source address is the kernel's choice; IP id and TCP sequence are not 0."""
    packet = IP(build_packet(filled('IP(dst="10.96.0.42")/TCP(dport=80, flags="S")')))

    assert (packet.src, packet.id, packet[TCP].seq, packet[TCP].sport) == ("10.244.1.5", 7, 7, 61000)
    assert packet[TCP].flags == "S"


def test_what_is_given_stays(filled: Filled) -> None:
    """A student's own values are sent as they are, zeros included."""
    expression = 'IP(src="1.2.3.4", dst="10.96.0.42", id=0, ttl=3)/UDP(sport=20, dport=53)/Raw(load=b"\\x00\\xff")'
    layers = filled(expression)

    packet = IP(build_packet(layers))
    assert (packet.src, packet.id, packet.ttl, packet[UDP].sport) == ("1.2.3.4", 0, 3, 20)
    assert bytes(packet[UDP].payload) == b"\x00\xff"
    assert source_port(layers) == 20


def test_echo_requests_get_an_id(filled: Filled) -> None:
    """Each ping has an id of its own, so that conntrack keeps it apart; other ICMP messages are left alone."""
    assert filled('IP(dst="10.96.0.42")/ICMP()')[1][1] == {"id": 7}
    assert filled('IP(dst="10.96.0.42")/ICMP(type=3, code=1)')[1][1] == {"type": 3, "code": 1}


def test_a_quoted_packet_is_left_alone() -> None:
    """The packet inside an ICMP error is what the student says it is."""
    quoted = (Layer("IP", (Field("dst", "10.96.0.42"),)), Layer("TCP", (Field("dport", 80),)))
    spec = PacketSpec("", (Layer("IP"), Layer("ICMP", (Field("type", 3),)), *quoted))

    layers = fill(spec, lambda _: "10.244.1.5", lambda: 61000, lambda bits: 7)

    assert layers[2:] == [("IP", {"dst": "10.96.0.42"}), ("TCP", {"dport": 80})]
    assert source_port(layers) is None


def test_ipv6_is_built(filled: Filled) -> None:
    """IPv6 has no id to fill; its source is filled all the same."""
    packet = IPv6(build_packet(filled('IPv6(dst="fd00:10:96::42")/TCP(dport=80)')))

    assert (packet.version, packet.src, packet[TCP].dport) == (6, "fd00::5", 80)


def test_tcp_options_reach_scapy_as_it_wants_them(filled: Filled) -> None:
    """Options come as lists over the wire, and become scapy's tuples."""
    packet = IP(build_packet(filled('IP(dst="10.0.0.1")/TCP(options=[("MSS", 1460), ("NOP", None)])')))

    assert ("MSS", 1460) in packet[TCP].options


def test_a_packet_begins_with_its_network_layer() -> None:
    """A spec that was not parsed from an expression is checked as well."""
    with pytest.raises(UsageError, match="network layer"):
        fill(PacketSpec("TCP()", (Layer("TCP"),)), lambda _: "", lambda: 1, lambda bits: 1)
