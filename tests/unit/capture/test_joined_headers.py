"""A traced packet's bytes are joined only where they stood together."""

from __future__ import annotations

import struct

import pytest

from kplab.capture.decode_nftrace import decode_nft_trace
from kplab.capture.netlink import NetlinkMessage, attribute

pytestmark = pytest.mark.unit

TCP = struct.pack("!HHIIBBHHH", 1234, 80, 1, 0, 0x50, 2, 100, 0, 0)


def trace_with(network: bytes, transport: bytes = b"") -> bytes:
    """Return the packet of a trace message with these two headers."""
    body = attribute(1, b"nat\0") + attribute(2, b"PREROUTING\0") + attribute(4, struct.pack("!I", 1))
    body += attribute(6, struct.pack("!I", 7)) + attribute(8, network)
    body += attribute(9, transport) if transport else b""
    return decode_nft_trace(NetlinkMessage(10, 17, 0, 2, 0, body), {}).packet


def test_ipv4_and_its_transport_header_are_joined() -> None:
    """A header of 20 bytes is whole, so TCP follows it."""
    network = bytes([0x45]) + bytes(19)
    assert trace_with(network, TCP) == network + TCP


def test_ipv4_with_options_that_were_cut_off_is_not_joined() -> None:
    """The kernel gives 40 bytes at most; TCP does not follow the 40th of a header of 60."""
    network = bytes([0x4F]) + bytes(39)
    assert trace_with(network, TCP) == network


@pytest.mark.parametrize("protocol", [6, 17, 58, 132])
def test_ipv6_and_its_transport_header_are_joined(protocol: int) -> None:
    """With no further header in between, the transport header follows."""
    network = bytes([0x60, 0, 0, 0, 0, 20, protocol, 64]) + bytes(32)
    assert trace_with(network, TCP) == network + TCP


@pytest.mark.parametrize("protocol", [0, 43, 44, 60])
def test_ipv6_with_extension_headers_is_not_joined(protocol: int) -> None:
    """An extension header stands between, and the kernel does not give it: joining would make it be read as TCP."""
    network = bytes([0x60, 0, 0, 0, 0, 28, protocol, 64]) + bytes(32)
    assert trace_with(network, TCP) == network


def test_a_fragment_has_its_network_header_only() -> None:
    """A later fragment carries no transport header."""
    network = bytes([0x45]) + bytes(19)
    assert trace_with(network) == network
