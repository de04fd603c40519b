"""Makes the kernel's named counters (nfacct) that two of kube-proxy's rules name.

One netlink message each: subsystem NFNL_SUBSYS_ACCT (7), message NFNL_MSG_ACCT_NEW (0), attribute NFACCT_NAME
(1); see include/uapi/linux/netfilter/nfnetlink_acct.h. The name must exist before a rule can name it. Written by
hand because a first sync has 0.25 s, and importing a netlink library alone takes 0.15 s.
"""

from __future__ import annotations

import errno
import socket
import struct

CT_STATE_INVALID_DROPPED = "ct_state_invalid_dropped_pkts"
LOCALHOST_NODE_PORTS_ACCEPTED = "localhost_nps_accepted_pkts"
COUNTERS = (CT_STATE_INVALID_DROPPED, LOCALHOST_NODE_PORTS_ACCEPTED)
"""The counters of kube-proxy v1.36's iptables mode."""

_NETLINK_NETFILTER = 12
_ACCT_NEW, _ACCT_GET = 7 << 8, (7 << 8) | 1
_REQUEST, _ACK, _CREATE_EXCL = 0x1, 0x4, 0x400 | 0x200
_NLMSG_ERROR = 2
_ATTR_NAME, _ATTR_PACKETS = 1, 2


def ensure_counters(names: tuple[str, ...] = COUNTERS) -> bool:
    """Make each counter that does not exist yet; tell whether all of them now do.

    False when the kernel was built without nfacct or refuses us: kube-proxy then writes its rules without
    counters.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
            return all(_create(netlink, name) in (0, errno.EEXIST) for name in names)
    except OSError:
        return False


def read_counter(name: str) -> int | None:
    """Return how many packets a counter has seen, or None where it does not exist."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
            netlink.send(_message(_ACCT_GET, _REQUEST, name))
            return _packets(netlink.recv(4096))
    except OSError:
        return None


def _create(netlink: socket.socket, name: str) -> int:
    netlink.send(_message(_ACCT_NEW, _REQUEST | _ACK | _CREATE_EXCL, name))
    return _error(netlink.recv(4096))


def _message(kind: int, flags: int, name: str) -> bytes:
    value = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(value), _ATTR_NAME) + value + bytes(-len(value) % 4)
    body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0) + attribute
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def _error(answer: bytes) -> int:
    """Return the errno in a netlink acknowledgement, 0 for success."""
    _, kind = struct.unpack_from("=IH", answer)
    if kind != _NLMSG_ERROR:
        return errno.EPROTO
    return -int(struct.unpack_from("=i", answer, 16)[0])


def _packets(answer: bytes) -> int | None:
    length, kind = struct.unpack_from("=IH", answer)
    if kind == _NLMSG_ERROR:
        return None
    at = 20
    while at + 4 <= length:
        size, attribute = struct.unpack_from("=HH", answer, at)
        if attribute & 0x3FFF == _ATTR_PACKETS:
            return int(struct.unpack_from(">Q", answer, at + 4)[0])
        at += max(4, (size + 3) & ~3)
    return None
