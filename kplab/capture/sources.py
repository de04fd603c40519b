"""What is read of a netfilter socket: raw datagrams at once, decoded later.

A source belongs to one network namespace for life: its socket was opened there.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from kplab.capture.decode_conntrack import decode_conntrack
from kplab.capture.decode_nftrace import NFT_MSG_TRACE, decode_nft_trace
from kplab.capture.netlink import (
    NFNL_SUBSYS_CTNETLINK,
    NFNL_SUBSYS_NFTABLES,
    NFNLGRP_CONNTRACK_DESTROY,
    NFNLGRP_CONNTRACK_NEW,
    NFNLGRP_CONNTRACK_UPDATE,
    NFNLGRP_NFTRACE,
    NetlinkMessage,
    drops,
    messages,
    open_socket,
)  # fmt: skip
from kplab.errors import CaptureError
from kplab.trace.events import What

BURST = 4096
"""Datagrams read of one source before the next one has its turn."""
_LARGEST = 65536

Stamped = tuple[int, What]
Decode = Callable[[NetlinkMessage, int], Stamped | None]
"""Message and time of reading -> the event and its time; None for what is of no interest."""


class Source(Protocol):
    """One socket in one place."""

    name: str
    """For `Lost.source`: "nft trace", "conntrack", "NFLOG", "frames", "ruleset"."""
    place: str

    def fileno(self) -> int:
        """The socket's file descriptor; -1 when closed."""

    def read(self) -> int:
        """Take what waits, up to BURST datagrams, and keep it undecoded; return how many there were."""

    def events(self) -> Iterator[Stamped]:
        """Decode and forget what was read."""

    def lost(self) -> int:
        """How many datagrams were lost since this was last asked."""

    def clear(self) -> None:
        """Forget what was read and what was lost."""

    def close(self) -> None:
        """Close the socket."""


class NetlinkSource:
    """Netfilter multicast messages."""

    def __init__(self, name: str, place: str, sock: socket.socket, decode: Decode, clock: Callable[[], int]) -> None:
        self.name = name
        self.place = place
        self.undecoded = 0
        """Messages that were too short or too odd to decode."""
        self._socket = sock
        self._decode = decode
        self._clock = clock
        self._raw: list[tuple[int, bytes]] = []
        self._buffer = bytearray(_LARGEST)
        self._dropped = 0

    def fileno(self) -> int:
        """The socket's file descriptor."""
        return self._socket.fileno()

    def read(self) -> int:
        """Take what waits; see `Source`."""
        receive, buffer, raw = self._socket.recv_into, self._buffer, self._raw
        view, stamp, count = memoryview(buffer), self._clock(), 0
        try:
            while count < BURST:
                raw.append((stamp, bytes(view[: receive(buffer)])))
                count += 1
        except BlockingIOError:
            pass
        return count

    def events(self) -> Iterator[Stamped]:
        """Decode what was read; a message that cannot be decoded is counted as lost, never raised."""
        raw, self._raw = self._raw, []
        for stamp, data in raw:
            try:
                for message in messages(data):
                    if (event := self._decode(message, stamp)) is not None:
                        yield event
            except CaptureError:
                self.undecoded += 1

    def lost(self) -> int:
        """The kernel's drops and what we could not decode, since last asked."""
        total = drops(self._socket) + self.undecoded
        fresh, self._dropped = total - self._dropped, total
        return fresh

    def clear(self) -> None:
        """Forget what was read and what was lost."""
        self._raw.clear()
        self.lost()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def open_nft_trace(place: str, interfaces: Mapping[int, str], clock: Callable[[], int]) -> NetlinkSource:
    """Listen to nf_tables' trace in the current namespace. Raises CaptureError."""

    def decode(message: NetlinkMessage, stamp: int) -> Stamped | None:
        if (message.subsystem, message.kind) != (NFNL_SUBSYS_NFTABLES, NFT_MSG_TRACE):
            return None
        return stamp, decode_nft_trace(message, interfaces)

    return NetlinkSource("nft trace", place, open_socket((NFNLGRP_NFTRACE,)), decode, clock)


def open_conntrack(place: str, clock: Callable[[], int]) -> NetlinkSource:
    """Listen to conntrack's events in the current namespace. Raises CaptureError."""

    def decode(message: NetlinkMessage, stamp: int) -> Stamped | None:
        if message.subsystem != NFNL_SUBSYS_CTNETLINK:
            return None
        return stamp, decode_conntrack(message)

    groups = (NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_UPDATE, NFNLGRP_CONNTRACK_DESTROY)
    return NetlinkSource("conntrack", place, open_socket(groups), decode, clock)
