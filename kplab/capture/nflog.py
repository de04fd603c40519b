"""iptables-legacy's TRACE over nfnetlink_log: the socket that asks for it and reads it.

The kernel's logger of a family is set per namespace, by net.netfilter.nf_log.2 or .10 (the sysctl) or by
NFULNL_CFG_CMD_PF_BIND, which is the same thing without /proc. TRACE goes to group 0 (default_loginfo in
net/netfilter/nfnetlink_log.c), and one process a namespace can have a group.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from kplab.capture.decode_nflog import NFULNL_MSG_PACKET, decode_nflog, sequence
from kplab.capture.netlink import (
    NFNL_SUBSYS_ULOG,
    NLM_F_ACK,
    NLMSG_ERROR,
    NetlinkMessage,
    attribute,
    error_of,
    messages,
    open_socket,
    request,
)  # fmt: skip
from kplab.capture.sources import NetlinkSource, Stamped
from kplab.errors import CaptureError

GROUP = 0
SNAP = 256
"""Bytes kept of a packet: all headers, and those of the packet that an ICMP error complains of."""

_MSG_CONFIG = 1
_CFG_CMD, _CFG_MODE, _CFG_FLAGS = 1, 2, 6  # enum nfulnl_attr_config
_CMD_BIND, _CMD_PF_BIND = 1, 3
_COPY_PACKET = 2
_FLAG_SEQUENCE = 0x1
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class NflogSource(NetlinkSource):
    """NFLOG group 0, whose messages are numbered: a gap is a loss, however it came about."""

    def __init__(
        self, place: str, sock: socket.socket, interfaces: Mapping[int, str], clock: Callable[[], int]
    ) -> None:
        super().__init__("NFLOG", place, sock, self._decoded, clock)
        self._interfaces = interfaces
        self._expected: int | None = None
        self._gaps = 0
        self._gaps_told = 0

    def _decoded(self, message: NetlinkMessage, stamp: int) -> Stamped | None:
        if (message.subsystem, message.kind) != (NFNL_SUBSYS_ULOG, NFULNL_MSG_PACKET):
            return None
        if (now := sequence(message)) is not None:
            if self._expected is not None:
                self._gaps += (now - self._expected) & 0xFFFFFFFF
            self._expected = (now + 1) & 0xFFFFFFFF
        event = decode_nflog(message, self._interfaces)
        return None if event is None else (stamp, event)

    def lost(self) -> int:
        """The larger of what the gaps and what the socket's own count say.

        A gap shows a loss that the socket never saw (no memory for the message); the count shows those after the
        last message that came.
        """
        gaps, self._gaps_told = self._gaps - self._gaps_told, self._gaps
        return max(gaps, super().lost())

    def clear(self) -> None:
        """Forget what was read and what was lost; the next message starts the count anew."""
        super().clear()
        self._expected = None


def open_nflog(place: str, interfaces: Mapping[int, str], clock: Callable[[], int]) -> NflogSource:
    """Take the current namespace's NFLOG group 0, and make nfnetlink_log its logger for IPv4 and IPv6.

    Raises:
        CaptureError: the kernel refuses; with EBUSY, another process of the namespace has the group.
    """
    with ExitStack() as opened:
        sock = opened.enter_context(open_socket())
        for family in _FAMILIES:
            _ask(sock, family, attribute(_CFG_CMD, bytes([_CMD_PF_BIND])), f"log family {family} over nfnetlink_log")
        body = attribute(_CFG_CMD, bytes([_CMD_BIND]))
        body += attribute(_CFG_MODE, struct.pack("!IBx", SNAP, _COPY_PACKET))
        body += attribute(_CFG_FLAGS, struct.pack("!H", _FLAG_SEQUENCE))
        _ask(sock, socket.AF_UNSPEC, body, f"take NFLOG group {GROUP} of {place}")
        opened.pop_all()
    return NflogSource(place, sock, interfaces, clock)


def _ask(sock: socket.socket, family: int, body: bytes, tried: str) -> None:
    kind = NFNL_SUBSYS_ULOG << 8 | _MSG_CONFIG
    sock.send(request(kind, NLM_F_ACK, family, body, res_id=GROUP))
    select.select([sock], [], [], 2.0)
    try:
        answers = list(messages(sock.recv(65536)))
    except BlockingIOError as error:
        raise CaptureError(tried, "the kernel did not answer within 2 s") from error
    for answer in answers:
        if answer.kind == NLMSG_ERROR and answer.subsystem == 0 and (refused := error_of(answer.body)) is not None:
            taken = refused.errno in (errno.EPERM, errno.EBUSY)
            hint = "one process a namespace can have it: end the other reader" if taken else ""
            raise CaptureError(tried, str(refused), hint)
