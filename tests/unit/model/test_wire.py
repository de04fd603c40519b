"""What is read of a packet's bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.sctp import SCTP
from scapy.packet import Raw

from kplab.model.wire import payload_of, read_headers

pytestmark = pytest.mark.unit


def test_tcp_over_ipv4() -> None:
    """Every field of a SYN is read; flags are in scapy's letters."""
    packet = bytes(
        IP(src="10.244.1.5", dst="10.96.0.42", id=77, ttl=61) / TCP(sport=40000, dport=80, flags="SEC", seq=9, ack=3)
    )
    headers = read_headers(packet)

    assert (headers.family, headers.src, headers.dst, headers.proto) == (4, "10.244.1.5", "10.96.0.42", "tcp")
    assert (headers.sport, headers.dport, headers.flags, headers.seq, headers.ack) == (40000, 80, "SEC", 9, 3)
    assert (headers.ttl, headers.ip_id, headers.length) == (61, 77, 40)


def test_ipv4_options_are_stepped_over() -> None:
    """The header's own length says where TCP begins."""
    packet = bytes(IP(src="1.1.1.1", dst="2.2.2.2", options=[IPOption_RR(length=11)]) / UDP(sport=5, dport=6))

    assert read_headers(packet).dport == 6


def test_ipv6_extension_headers_are_stepped_over() -> None:
    """Hop-by-hop, destination options and a first fragment lead to the transport header."""
    packet = bytes(
        IPv6(src="fd00::1", dst="fd00::2", hlim=60)
        / IPv6ExtHdrHopByHop()
        / IPv6ExtHdrDestOpt()
        / IPv6ExtHdrFragment(offset=0, m=1)
        / TCP(sport=1, dport=443, flags="A")
    )
    headers = read_headers(packet)

    assert (headers.family, headers.proto, headers.dport, headers.flags) == (6, "tcp", 443, "A")
    assert (headers.ttl, headers.fragment, headers.length) == (60, False, len(packet))


@pytest.mark.parametrize(
    "packet",
    [
        bytes(IP(src="1.1.1.1", dst="2.2.2.2", frag=100, proto=17) / Raw(b"\0\x50\0\x50rest")),
        bytes(IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrFragment(offset=100, nh=17) / Raw(b"\0\x50\0\x50rest")),
    ],
    ids=["ipv4", "ipv6"],
)
def test_later_fragments_have_no_ports(packet: bytes) -> None:
    """Only a datagram's first fragment carries ports."""
    headers = read_headers(packet)

    assert (headers.fragment, headers.proto, headers.sport) == (True, "udp", None)


def test_icmp_echo_and_error() -> None:
    """An echo has id and sequence; an error carries the packet that it complains of."""
    echo = read_headers(bytes(IP(src="1.1.1.1", dst="2.2.2.2") / ICMP(type=8, id=7, seq=2)))
    quoted = IP(src="10.244.1.5", dst="10.96.0.43") / TCP(sport=40001, dport=80, flags="S")
    error = read_headers(bytes(IP(src="10.244.1.1", dst="10.244.1.5") / ICMP(type=3, code=3) / quoted))

    assert (echo.proto, echo.icmp_type, echo.icmp_id, echo.icmp_seq, echo.inner) == ("icmp", 8, 7, 2, None)
    assert (error.icmp_type, error.icmp_code, error.icmp_id) == (3, 3, None)
    assert error.inner is not None
    assert (error.inner.dst, error.inner.dport) == ("10.96.0.43", 80)


def test_icmpv6_error_and_echo() -> None:
    """The same for ICMPv6, whose numbers differ."""
    quoted = IPv6(src="fd00::5", dst="fd00:96::1") / UDP(sport=1, dport=53)
    error = read_headers(bytes(IPv6(src="fd00::1", dst="fd00::5") / ICMPv6DestUnreach(code=4) / quoted))
    echo = read_headers(bytes(IPv6(src="fd00::1", dst="fd00::5") / ICMPv6EchoRequest(id=3, seq=4)))

    assert error.inner is not None
    assert (error.proto, error.icmp_type, error.inner.proto, error.inner.dport) == ("icmpv6", 1, "udp", 53)
    assert (echo.icmp_type, echo.icmp_id, echo.icmp_seq) == (128, 3, 4)


def test_sctp_and_unknown_protocols() -> None:
    """SCTP has ports; a protocol without a name is its number."""
    assert read_headers(bytes(IP(src="1.1.1.1", dst="2.2.2.2") / SCTP(sport=9, dport=10))).dport == 10
    assert read_headers(bytes(IP(src="1.1.1.1", dst="2.2.2.2", proto=47) / Raw(b"x" * 20))).proto == "47"


def test_a_cut_transport_header_leaves_its_fields_out() -> None:
    """nf_tables' trace gives 20 bytes of transport; with fewer, what is missing is None."""
    whole = bytes(IP(src="1.1.1.1", dst="2.2.2.2") / TCP(sport=1, dport=2, flags="S"))

    assert (read_headers(whole[:30]).sport, read_headers(whole[:30]).flags) == (1, None)
    assert read_headers(whole[:20]).sport is None


@pytest.mark.parametrize(
    "packet", [b"", b"\x45" + b"\0" * 18, b"\x60" + b"\0" * 38, b"\x05" * 40, b"\x41" + b"\0" * 40]
)
def test_what_is_no_packet_is_a_value_error(packet: bytes) -> None:
    """Empty, cut in the network header, of another version, or claiming a header under 20 bytes."""
    with pytest.raises(ValueError, match=r"packet|header"):
        read_headers(packet)


@given(st.binary(max_size=120))
def test_any_bytes_give_headers_or_value_error(packet: bytes) -> None:
    """No other exception escapes, whatever came over the wire."""
    try:
        headers = read_headers(packet)
    except ValueError:
        return
    assert headers.family in (4, 6)
    assert isinstance(payload_of(packet), bytes)


def test_payload_ends_where_the_packet_says() -> None:
    """TCP options are stepped over and the link's padding is left out."""
    packet = bytes(IP(src="1.1.1.1", dst="2.2.2.2") / TCP(options=[("MSS", 1460)]) / Raw(b"hello"))

    assert payload_of(packet + b"\0" * 6) == b"hello"
    assert payload_of(bytes(IP(src="1.1.1.1", dst="2.2.2.2") / UDP() / Raw(b"abc"))) == b"abc"
