"""Sources and filters, without a netlink socket: any datagram socket is read the same way."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from kplab.capture.bpf import attach_filter, frame_filter, netlink_type_filter
from kplab.capture.decode_nftrace import decode_nft_trace
from kplab.capture.netlink import NetlinkMessage, attribute, drops, request
from kplab.capture.nflog import NflogSource
from kplab.capture.sources import NetlinkSource, Stamped

if TYPE_CHECKING:
    from tests.unit.capture.conftest import Recorded

pytestmark = pytest.mark.unit

Read = Callable[[str], "Recorded"]
PACKET = 4 << 8
"""NFULNL_MSG_PACKET of nfnetlink_log."""


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected datagram sockets: ours, which does not block, and the one that speaks."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def trace_source(sock: socket.socket) -> NetlinkSource:
    """Return a source of nft trace messages."""

    def decode(message: NetlinkMessage, stamp: int) -> Stamped:
        return stamp, decode_nft_trace(message, {})

    return NetlinkSource("nft trace", "node-a", sock, decode, lambda: 42)


def numbered(n: int) -> bytes:
    """Return an NFLOG message of TRACE with this sequence number."""
    body = attribute(1, b"\x08\x00\x00\x00") + attribute(10, b"TRACE: nat:PREROUTING:policy:1 \0")
    return request(PACKET, 0, 2, body + attribute(12, n.to_bytes(4, "big")))


def test_what_waits_is_read_at_once_and_decoded_later(
    ends: tuple[socket.socket, socket.socket], recorded: Read
) -> None:
    """`read` never blocks; `events` gives each event once, with the time of reading, in order."""
    ours, theirs = ends
    datagrams = recorded("nft-trace").datagrams[:5]
    source = trace_source(ours)
    assert source.read() == 0
    for datagram in datagrams:
        theirs.send(datagram)
    assert source.read() == 5
    expected = [(42, decode_nft_trace(message, {})) for message in recorded("nft-trace").messages()[:5]]
    assert list(source.events()) == expected
    assert list(source.events()) == []
    assert source.lost() == 0


def test_what_cannot_be_decoded_counts_as_lost(ends: tuple[socket.socket, socket.socket], recorded: Read) -> None:
    """An odd message does not stop those around it, and is told once."""
    ours, theirs = ends
    good = recorded("nft-trace").datagrams[0]
    for datagram in (good, b"odd", good[:40], good):
        theirs.send(datagram)
    source = trace_source(ours)
    source.read()
    assert len(list(source.events())) == 2
    assert source.lost() == 2
    assert source.lost() == 0


def test_a_gap_in_nflogs_numbers_is_a_loss(ends: tuple[socket.socket, socket.socket]) -> None:
    """Numbers 1, 2, 5, 6: two were lost, and are told once; numbers wrap at 32 bits."""
    ours, theirs = ends
    source = NflogSource("node-a", ours, {}, lambda: 0)
    for n in (1, 2, 5, 6):
        theirs.send(numbered(n))
    source.read()
    assert len(list(source.events())) == 4
    assert source.lost() == 2
    assert source.lost() == 0
    source.clear()
    for n in (0xFFFFFFFF, 0, 1):
        theirs.send(numbered(n))
    source.read()
    list(source.events())
    assert source.lost() == 0


def test_clear_forgets_what_waits_and_what_was_lost(ends: tuple[socket.socket, socket.socket]) -> None:
    """After `clear` a question starts with nothing."""
    ours, theirs = ends
    theirs.send(b"odd")
    source = trace_source(ours)
    source.read()
    source.clear()
    assert list(source.events()) == []
    assert source.lost() == 0


def test_the_netlink_filter_lets_one_type_through(ends: tuple[socket.socket, socket.socket]) -> None:
    """The kernel's own filter machine runs the program: other messages never reach the buffer, nor count as dropped."""
    ours, theirs = ends
    attach_filter(ours, netlink_type_filter(0x0A0F))
    for kind in (0x0A06, 0x0A0F, 0x0F0A):
        theirs.send(request(kind, 0, 0))
    assert ours.recv(100) == request(0x0A0F, 0, 0)
    with pytest.raises(BlockingIOError):
        ours.recv(100)
    assert drops(ours) == 0


def kept_of(frame: bytes, interface: int, indexes: list[int]) -> int:
    """Run the frame filter as the kernel does, and return how many bytes it keeps."""
    program, at, value = frame_filter(indexes, 2048), 0, 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        if code == 0x06:
            return operand
        if code == 0x15:
            at += if_true if value == operand else if_false
            continue
        width = {0x20: 4, 0x28: 2, 0x30: 1}[code]
        if operand == 0xFFFFF008:
            value = interface
        elif operand + width > len(frame):
            return 0
        else:
            value = int.from_bytes(frame[operand : operand + width], "big")


def ethernet(kind: int, payload: bytes) -> bytes:
    """Return a frame."""
    return bytes(12) + kind.to_bytes(2, "big") + payload


def ipv6(next_header: int, first: int) -> bytes:
    """Return an IPv6 packet whose transport header begins with this byte."""
    return bytes([0x60, 0, 0, 0, 0, 8, next_header, 255]) + bytes(32) + bytes([first]) + bytes(7)


def ipv4(protocol: int) -> bytes:
    """Return an IPv4 packet."""
    return bytes([0x45]) + bytes(8) + bytes([protocol]) + bytes(18)


@pytest.mark.parametrize(
    ("frame", "wanted"),
    [
        (ethernet(0x0806, bytes(28)), True),
        (ethernet(0x0800, ipv4(6)), True),
        (ethernet(0x0800, ipv4(17)), True),
        (ethernet(0x0800, ipv4(1)), True),
        (ethernet(0x0800, ipv4(2)), False),
        (ethernet(0x86DD, ipv6(6, 133)), True),
        (ethernet(0x86DD, ipv6(58, 128)), True),
        (ethernet(0x86DD, ipv6(58, 135)), True),
        (ethernet(0x86DD, ipv6(58, 133)), False),
        (ethernet(0x86DD, ipv6(0, 58)), False),
    ],
    ids=["arp", "tcp", "udp", "icmp", "igmp", "tcp6", "ping6", "neighbour", "router-solicitation", "listener-report"],
)
def test_the_frame_filter_leaves_out_only_what_links_say_by_themselves(frame: bytes, wanted: bool) -> None:
    """IGMP, listener reports and router discovery are left out; whatever a question could be about is kept."""
    assert kept_of(frame, 3, [3]) == (2048 if wanted else 0)


@pytest.mark.parametrize("count", [1, 2, 40, 250])
def test_the_frame_filter_keeps_the_asked_interfaces_only(count: int) -> None:
    """With one interface or the most that a jump can span."""
    indexes = list(range(2, 2 + count))
    frame = ethernet(0x0806, bytes(28))
    assert [i for i in range(count + 4) if kept_of(frame, i, indexes)] == indexes
