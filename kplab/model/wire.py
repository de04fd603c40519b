"""A packet's bytes, from the network header on, read into `Headers`.

Layouts: RFC 791 and 8200 (IPv4, IPv6), 9293 (TCP), 768 (UDP), 792 and 4443 (ICMP), 9260 (SCTP). Bytes come from
three places: AF_PACKET (the whole packet, or its start), NFLOG (the same), and nf_tables' trace, which gives at
most 40 bytes of network header and 20 bytes of what follows (net/netfilter/nf_tables_trace.c). So a transport
header may be cut short: its fields are then None. A network header that is cut short is a `ValueError`.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop
from struct import Struct

from kplab.model.packet import Headers

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
TCP_FLAGS = "FSRPAUEC"

_IPV6_OPTIONS = frozenset({0, 43, 60, 135, 139, 140})  # hop-by-hop, routing, destination, mobility, HIP, shim6
_IPV6_FRAGMENT, _IPV6_AUTHENTICATION = 44, 51
_ICMP_ERRORS = frozenset({3, 4, 5, 11, 12})
_ICMP_QUERIES = frozenset({0, 8, 13, 14, 15, 16, 17, 18})
_ICMPV6_ERRORS = frozenset({1, 2, 3, 4})
_ICMPV6_QUERIES = frozenset({128, 129})

_IPV4 = Struct("!BxHHHBB2x4s4s")
_IPV6 = Struct("!4xHBB16s16s")
_PORTS = Struct("!HH")
_TCP = Struct("!HHIIxB")
_ECHO = Struct("!HH")


def _flag_text(bits: int) -> str:
    return "".join(letter for index, letter in enumerate(TCP_FLAGS) if bits >> index & 1)


_FLAG_TEXTS = tuple(_flag_text(bits) for bits in range(256))


def read_headers(packet: bytes) -> Headers:
    """Return what the bytes say. Raises ValueError, and nothing else, when they are no IPv4 or IPv6 packet."""
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        return _read_ipv4(packet)
    if version == 6:
        return _read_ipv6(packet)
    raise ValueError(f"not an IP packet: its first byte says version {version}" if packet else "an empty packet")


def payload_of(packet: bytes) -> bytes:
    """Return what follows the transport header of the packet, as far as the bytes go; b"" if there is none.

    Link padding is left out: the packet's own length ends it. Raises ValueError like `read_headers`.
    """
    headers = read_headers(packet)
    offset = _transport_offset(packet)
    if headers.fragment or offset is None:
        return b""
    if headers.proto == "tcp":
        size = (packet[offset + 12] >> 4) * 4 if len(packet) > offset + 12 else 20
    else:
        size = {"udp": 8, "icmp": 8, "icmpv6": 8, "sctp": 12}.get(headers.proto, 0)
    return packet[offset + size : headers.length]


def _read_ipv4(packet: bytes) -> Headers:
    if len(packet) < 20:
        raise ValueError(f"an IPv4 header has 20 bytes or more, and here are {len(packet)}")
    first, length, ip_id, fragment, ttl, number, src, dst = _IPV4.unpack_from(packet)
    offset = (first & 0xF) * 4
    if offset < 20:
        raise ValueError(f"an IPv4 header has 20 bytes or more, and this one claims {offset}")
    common = (4, inet_ntop(AF_INET, src), inet_ntop(AF_INET, dst), ttl, ip_id, length)
    return _read_transport(packet, offset, number, bool(fragment & 0x1FFF), common)


def _read_ipv6(packet: bytes) -> Headers:
    if len(packet) < 40:
        raise ValueError(f"an IPv6 header has 40 bytes, and here are {len(packet)}")
    length, number, ttl, src, dst = _IPV6.unpack_from(packet)
    number, offset, fragment = _skip_extensions(packet, number)
    common = (6, inet_ntop(AF_INET6, src), inet_ntop(AF_INET6, dst), ttl, 0, length + 40)
    return _read_transport(packet, offset, number, fragment, common)


def _skip_extensions(packet: bytes, number: int) -> tuple[int, int, bool]:
    """Return the transport's number, where it begins, and whether this is a fragment other than the first."""
    offset, later_fragment = 40, False
    while offset + 8 <= len(packet):
        if number in _IPV6_OPTIONS:
            number, offset = packet[offset], offset + (packet[offset + 1] + 1) * 8
        elif number == _IPV6_AUTHENTICATION:
            number, offset = packet[offset], offset + (packet[offset + 1] + 2) * 4
        elif number == _IPV6_FRAGMENT:
            later_fragment = later_fragment or bool(int.from_bytes(packet[offset + 2 : offset + 4], "big") & 0xFFF8)
            number, offset = packet[offset], offset + 8
        else:
            break
    return number, offset, later_fragment


def _transport_offset(packet: bytes) -> int | None:
    if packet[0] >> 4 == 4:
        return (packet[0] & 0xF) * 4
    number, offset, _ = _skip_extensions(packet, packet[6])
    return None if number in _IPV6_OPTIONS else offset


def _read_transport(
    packet: bytes, offset: int, number: int, fragment: bool, common: tuple[int, str, str, int, int, int]
) -> Headers:
    family, src, dst, ttl, ip_id, length = common
    proto = PROTOCOLS.get(number) or str(number)
    have = 0 if fragment else len(packet) - offset
    sport = dport = seq = ack = icmp_type = icmp_code = icmp_id = icmp_seq = None
    flags: str | None = None
    inner: Headers | None = None
    if proto == "tcp" and have >= 14:
        sport, dport, seq, ack, bits = _TCP.unpack_from(packet, offset)
        flags = _FLAG_TEXTS[bits]
    elif proto in ("tcp", "udp", "sctp") and have >= 4:
        sport, dport = _PORTS.unpack_from(packet, offset)
    elif proto in ("icmp", "icmpv6") and have >= 2:
        icmp_type, icmp_code = packet[offset], packet[offset + 1]
        if icmp_type in (_ICMP_QUERIES if proto == "icmp" else _ICMPV6_QUERIES):
            icmp_id, icmp_seq = _ECHO.unpack_from(packet, offset + 4) if have >= 8 else (None, None)
        elif icmp_type in (_ICMP_ERRORS if proto == "icmp" else _ICMPV6_ERRORS):
            inner = _read_inner(packet[offset + 8 :])
    return Headers(
        family=6 if family == 6 else 4, src=src, dst=dst, proto=proto, sport=sport, dport=dport, flags=flags,
        seq=seq, ack=ack, ttl=ttl, ip_id=ip_id, length=length, icmp_type=icmp_type, icmp_code=icmp_code,
        icmp_id=icmp_id, icmp_seq=icmp_seq, inner=inner, fragment=fragment,
    )  # fmt: skip


def _read_inner(packet: bytes) -> Headers | None:
    """Return the headers that an ICMP error quotes, or None when too little of them is there."""
    try:
        return read_headers(packet)
    except ValueError:
        return None
