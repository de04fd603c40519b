"""Conntrack's events, decoded.

Attributes are enum ctattr_type and its nested ones, of include/uapi/linux/netfilter/nfnetlink_conntrack.h.

Facts for whoever orders them: "new" is sent when the entry is confirmed, which is the very end of POSTROUTING or
INPUT, after all traces of that packet; "update" likewise, once per packet at most, with what changed. A packet that
is dropped on its way leaves no event. A namespace gets events only while somebody listens
(net.netfilter.nf_conntrack_events = 2), and an entry made before that never has any.
"""

from __future__ import annotations

import socket
from typing import Literal

from kplab.capture.netlink import Attributes, NetlinkMessage, attributes, number
from kplab.errors import CaptureError
from kplab.trace.events import CtChange, Tuple

IPCTNL_MSG_CT_NEW = 0
IPCTNL_MSG_CT_DELETE = 2
_NLM_F_CREATE = 0x400
_NLM_F_EXCL = 0x200

_TUPLE_ORIG, _TUPLE_REPLY, _STATUS, _PROTOINFO, _TIMEOUT, _MARK, _ID = 1, 2, 3, 4, 7, 8, 12
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_IP_V4_SRC, _IP_V4_DST, _IP_V6_SRC, _IP_V6_DST = 1, 2, 3, 4
_PROTO_NUM, _PROTO_SRC_PORT, _PROTO_DST_PORT = 1, 2, 3
_PROTO_ICMP = (4, 5, 6)
"""CTA_PROTO_ICMP_ID, _TYPE, _CODE."""
_PROTO_ICMPV6 = (7, 8, 9)
_PROTOINFO_TCP, _PROTOINFO_SCTP = 1, 3
_PROTOINFO_STATE = 1

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre", 58: "icmpv6", 132: "sctp", 136: "udplite"}
"""IPPROTO_* in conntrack's words."""

_TCP_STATES = (
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
    "SYN_SENT2",
)  # fmt: skip
"""tcp_conntrack_names of net/netfilter/nf_conntrack_proto_tcp.c, in enum tcp_conntrack's order."""
_SCTP_STATES = (
    "NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD",
    "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT",
)  # fmt: skip


def decode_conntrack(message: NetlinkMessage) -> CtChange:
    """Return the event of an IPCTNL_MSG_CT_NEW or _DELETE message.

    Raises:
        CaptureError: it is another message, or lacks a tuple or the identity.
    """
    found = attributes(message.body)
    if _ID not in found:
        raise CaptureError("a conntrack message has no id", message.body.hex())
    return CtChange(
        change=_change(message),
        id=number(found[_ID]) or 0,
        original=_tuple(found.get(_TUPLE_ORIG, b"")),
        reply=_tuple(found.get(_TUPLE_REPLY, b"")),
        status=number(found.get(_STATUS)) or 0,
        state=_state(found.get(_PROTOINFO, b"")),
        timeout=number(found.get(_TIMEOUT)),
        mark=number(found.get(_MARK)) or 0,
    )


def _change(message: NetlinkMessage) -> Literal["new", "update", "destroy"]:
    if message.kind == IPCTNL_MSG_CT_DELETE:
        return "destroy"
    if message.kind != IPCTNL_MSG_CT_NEW:
        raise CaptureError("this is not a conntrack event", f"message {message.kind}")
    return "new" if message.flags & (_NLM_F_CREATE | _NLM_F_EXCL) else "update"


def _tuple(payload: bytes) -> Tuple:
    found = attributes(payload)
    addresses = attributes(found.get(_TUPLE_IP, b""))
    proto = attributes(found.get(_TUPLE_PROTO, b""))
    protocol = number(proto.get(_PROTO_NUM)) or 0
    return Tuple(
        src=_address(addresses, _IP_V4_SRC, _IP_V6_SRC),
        dst=_address(addresses, _IP_V4_DST, _IP_V6_DST),
        proto=PROTOCOLS.get(protocol, str(protocol)),
        sport=number(proto.get(_PROTO_SRC_PORT)),
        dport=number(proto.get(_PROTO_DST_PORT)),
        icmp=_icmp(proto),
    )


def _address(found: Attributes, four: int, six: int) -> str:
    if len(payload := found.get(four, b"")) == 4:
        return socket.inet_ntop(socket.AF_INET, payload)
    if len(payload := found.get(six, b"")) == 16:
        return socket.inet_ntop(socket.AF_INET6, payload)
    raise CaptureError("a conntrack tuple has no address", repr(found))


def _icmp(proto: Attributes) -> tuple[int, int, int] | None:
    for identity, kind, code in (_PROTO_ICMP, _PROTO_ICMPV6):
        if kind in proto:
            return number(proto[kind]) or 0, number(proto.get(code)) or 0, number(proto.get(identity)) or 0
    return None


def _state(payload: bytes) -> str | None:
    found = attributes(payload)
    for kind, names in ((_PROTOINFO_TCP, _TCP_STATES), (_PROTOINFO_SCTP, _SCTP_STATES)):
        if kind in found:
            state = number(attributes(found[kind]).get(_PROTOINFO_STATE))
            return None if state is None else names[state] if state < len(names) else str(state)
    return None
