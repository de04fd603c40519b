"""Netlink as far as we need it: sockets that lose as little as they can, messages, and attributes.

Struct and plain sockets, not pyroute2: a trace decodes tens of thousands of messages a second, and pyroute2 has
no class for nf_tables' trace messages. Numbers are those of include/uapi/linux/netlink.h,
linux/netfilter/nfnetlink.h and linux/netfilter/nfnetlink_compat.h.

Netlink's headers are in the machine's byte order; what nf_tables, conntrack and nfnetlink_log put into attributes
is big-endian.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kplab.errors import CaptureError

NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_DROP_MEMBERSHIP = 2
NETLINK_NO_ENOBUFS = 5
SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
_SK_MEMINFO_DROPS = 8  # include/uapi/linux/sock_diag.h

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300

NFNL_SUBSYS_CTNETLINK = 1
NFNL_SUBSYS_ULOG = 4
NFNL_SUBSYS_NFTABLES = 10

NFNLGRP_CONNTRACK_NEW = 1
NFNLGRP_CONNTRACK_UPDATE = 2
NFNLGRP_CONNTRACK_DESTROY = 3
NFNLGRP_NFTABLES = 7
NFNLGRP_NFTRACE = 9

NFPROTO_NAMES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
"""NFPROTO_* of include/uapi/linux/netfilter.h, in nft's words."""

RECEIVE_BUFFER = 32 * 1024 * 1024
"""Bytes asked for. It counts the kernel's own overhead, about 1 KiB a message; used only when we are slow."""

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF  # NLA_F_NESTED and NLA_F_NET_BYTEORDER are flags in the type

Attributes = dict[int, bytes]
"""Attribute's number -> its payload. Of several with one number, the last."""


@dataclass(frozen=True, slots=True)
class NetlinkMessage:
    """One message: `subsystem` and `kind` are the two halves of nlmsg_type, `family` is nfgenmsg's."""

    subsystem: int
    kind: int
    flags: int
    family: int
    res_id: int
    """nfgenmsg's res_id: for nfnetlink_log the group."""
    body: bytes
    """From the first attribute on; for NLMSG_ERROR and NLMSG_DONE, all that follows the netlink header."""


def attributes(body: bytes) -> Attributes:
    """Return the attributes of one level. What is cut short or has an impossible length ends the list."""
    found: Attributes = {}
    offset, end = 0, len(body)
    unpack = _ATTRIBUTE.unpack_from
    while offset + 4 <= end:
        length, kind = unpack(body, offset)
        if length < 4 or offset + length > end:
            break
        found[kind & _TYPE_MASK] = body[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def messages(data: bytes) -> Iterator[NetlinkMessage]:
    """Take one datagram apart.

    Raises:
        CaptureError: a message is shorter than its header says, or has no nfgenmsg.
    """
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < 16:
            raise CaptureError("a netlink message is too short for its header", f"{end - offset} bytes left")
        length, kind, flags, _sequence, _port = _HEADER.unpack_from(data, offset)
        if length < 16 or offset + length > end:
            raise CaptureError("a netlink message has an impossible length", f"{length} of {end - offset} bytes")
        if kind in (NLMSG_ERROR, NLMSG_DONE):
            yield NetlinkMessage(0, kind, flags, 0, 0, data[offset + 16 : offset + length])
        elif length < 20:
            raise CaptureError("a netfilter message has no nfgenmsg", f"{length} bytes")
        else:
            res_id = int.from_bytes(data[offset + 18 : offset + 20], "big")
            body = data[offset + 20 : offset + length]
            yield NetlinkMessage(kind >> 8, kind & 0xFF, flags, data[offset + 16], res_id, body)
        offset += (length + 3) & ~3


def text(payload: bytes) -> str:
    """Return an NLA_STRING without its final zero."""
    return payload.split(b"\0", 1)[0].decode("utf-8", "replace")


def number(payload: bytes | None) -> int | None:
    """Return a big-endian number of any width, or None for an attribute that is not there."""
    return int.from_bytes(payload, "big") if payload else None


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def request(kind: int, flags: int, family: int, body: bytes = b"", *, res_id: int = 0, sequence: int = 1) -> bytes:
    """Return a netfilter request: netlink header, nfgenmsg, `body`."""
    payload = struct.pack("=BB", family, 0) + struct.pack("!H", res_id) + body
    return _HEADER.pack(16 + len(payload), kind, NLM_F_REQUEST | flags, sequence, 0) + payload


def open_socket(groups: Sequence[int] = (), *, receive_buffer: int = RECEIVE_BUFFER) -> socket.socket:
    """Return a non-blocking netfilter socket of the current network namespace, in these multicast groups.

    NETLINK_NO_ENOBUFS: without it one overrun makes the kernel refuse everything until we have read all that
    waits. Losses are counted all the same: see `drops`.

    Raises:
        CaptureError: the kernel has no nfnetlink, or refuses a group (it wants CAP_NET_ADMIN).
    """
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_NETFILTER)
    except OSError as error:
        raise CaptureError(
            "open a netfilter netlink socket", str(error), "the kernel needs CONFIG_NETFILTER_NETLINK"
        ) from error
    try:
        sock.bind((0, 0))
        enlarge(sock, receive_buffer)
        sock.setsockopt(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
        for group in groups:
            sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
    except OSError as error:
        sock.close()
        raise CaptureError(
            f"listen to netfilter's groups {', '.join(map(str, groups))}", str(error),
            "watching a network namespace wants CAP_NET_ADMIN in the user namespace that owns it",
        ) from error  # fmt: skip
    return sock


def enlarge(sock: socket.socket, size: int) -> None:
    """Give the socket as large a receive buffer as we may: SO_RCVBUFFORCE, else up to net.core.rmem_max.

    SO_RCVBUFFORCE wants CAP_NET_ADMIN in the *first* user namespace (sockopt_capable in net/core/sock.c), so a
    rootless lab is left with rmem_max.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except PermissionError:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def drops(sock: socket.socket) -> int:
    """Return how many messages or frames the kernel has thrown away for want of room, since the socket's start.

    sk_drops by SO_MEMINFO (net/core/sock.c): netlink_overrun and packet_rcv count there, each datagram once.
    """
    info = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 64)
    return int(struct.unpack_from("=I", info, 4 * _SK_MEMINFO_DROPS)[0])


def error_of(body: bytes) -> OSError | None:
    """Return the error that an NLMSG_ERROR (or an NLMSG_DONE that ends a dump) carries; None for an acknowledgement."""
    code = int(struct.unpack_from("=i", body)[0]) if len(body) >= 4 else 0
    return OSError(-code, os.strerror(-code)) if code < 0 else None
