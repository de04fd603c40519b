"""What stays the same of a packet while NAT rewrites it, and what of it names its connection.

NAT changes addresses, ports (an ICMP echo's id is its port) and checksums; a router lowers the TTL. IP id, total
length, TCP's numbers and flags, and the payload stay. Two packets may still share all of these (Linux sends
SYN-ACKs with IP id 0, so a repeated one is the same to the bit); order and place tell them apart.
"""

from __future__ import annotations

from kplab.model.packet import Headers
from kplab.model.wire import payload_of, read_headers

Key = tuple[str | int | bytes | None, ...]
"""Equal for all sightings of one packet."""

Ends = tuple[str, str, int | None, str, int | None]
"""Protocol, source, source port, destination, destination port; an ICMP echo's id stands for both ports."""

_UDP_SEEN = 12
"""nf_tables' trace gives 20 bytes of transport: a UDP header and this much of the payload."""


def read(packet: bytes) -> Headers | None:
    """Return the headers, or None for bytes that are no IP packet."""
    try:
        return read_headers(packet)
    except ValueError:
        return None


def key_of(headers: Headers, packet: bytes) -> Key:
    """Return what NAT leaves alone of this packet."""
    common: Key = (headers.proto, headers.ip_id, headers.length)
    if headers.proto == "tcp":
        return (*common, headers.seq, headers.ack, headers.flags)
    if headers.proto == "udp" and not headers.fragment:
        return (*common, payload_of(packet)[:_UDP_SEEN])
    if headers.icmp_type is not None:
        return (*common, headers.icmp_type, headers.icmp_code, headers.icmp_seq)
    return common


def is_error(headers: Headers) -> bool:
    """Say whether it is an ICMP error, which quotes a packet; where the bytes are cut short the quotation lacks."""
    errors = (3, 4, 5, 11, 12) if headers.proto == "icmp" else (1, 2, 3, 4)
    return headers.icmp_type in errors


def ends_of(headers: Headers) -> Ends:
    """Return the packet's ends, as it is written."""
    if headers.icmp_id is not None:
        return (headers.proto, headers.src, headers.icmp_id, headers.dst, headers.icmp_id)
    return (headers.proto, headers.src, headers.sport, headers.dst, headers.dport)


def turned(ends: Ends) -> Ends:
    """Return the ends as an answer has them."""
    proto, src, sport, dst, dport = ends
    return (proto, dst, dport, src, sport)
