"""Classic BPF on a socket: what is of no interest never reaches its buffer (linux/filter.h, linux/bpf_common.h)."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

Instruction = tuple[int, int, int, int]
"""struct sock_filter: code, jump if true, jump if false, operand."""

_INSTRUCTION = struct.Struct("=HBBI")
_SO_ATTACH_FILTER = 26
_LOAD_INTERFACE: Instruction = (0x20, 0, 0, 0xFFFFF008)  # ld [SKF_AD_OFF + SKF_AD_IFINDEX]
_LOAD_HALFWORD = 0x28
_LOAD_BYTE = 0x30
_JUMP_EQUAL = 0x15
_RETURN = 0x06


def attach_filter(sock: socket.socket, instructions: Sequence[Instruction]) -> None:
    """Attach a program to a socket. Raises OSError."""
    code = b"".join(_INSTRUCTION.pack(*one) for one in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a length and a pointer, which the kernel follows during the call only.
    program = struct.pack("@HP", len(instructions), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


MOST_INTERFACES = 250
"""A jump of a classic BPF program is one byte."""


def frame_filter(indexes: Sequence[int], snap: int) -> list[Instruction]:
    """Return a program that keeps `snap` bytes of Ethernet frames on these interfaces (at most MOST_INTERFACES).

    Of IGMP, of IPv6 with hop-by-hop options (multicast listener reports) and of router discovery, which a link sends
    by itself for seconds after it came up, nothing is kept: they would only hide when a lab has gone quiet.
    """
    tests = [(_JUMP_EQUAL, len(indexes) - n, 0, index) for n, index in enumerate(indexes)]
    return [
        _LOAD_INTERFACE, *tests, (_RETURN, 0, 0, 0),
        (_LOAD_HALFWORD, 0, 0, 12),
        (_JUMP_EQUAL, 0, 2, 0x0800),
        (_LOAD_BYTE, 0, 0, 14 + 9),
        (_JUMP_EQUAL, 7, 6, 2),  # IGMP
        (_JUMP_EQUAL, 0, 5, 0x86DD),
        (_LOAD_BYTE, 0, 0, 14 + 6),
        (_JUMP_EQUAL, 4, 0, 0),  # hop-by-hop options
        (_JUMP_EQUAL, 0, 2, 58),
        (_LOAD_BYTE, 0, 0, 14 + 40),
        (_JUMP_EQUAL, 1, 0, 133),  # router solicitation; nobody in a lab advertises
        (_RETURN, 0, 0, snap),
        (_RETURN, 0, 0, 0),
    ]  # fmt: skip


def netlink_type_filter(kind: int) -> list[Instruction]:
    """Return a program that keeps netlink datagrams whose first message is of this nlmsg_type.

    A BPF load is big-endian, nlmsg_type is in the machine's order.
    """
    wanted = int.from_bytes(struct.pack("=H", kind), "big")
    return [(_LOAD_HALFWORD, 0, 0, 4), (_JUMP_EQUAL, 0, 1, wanted), (_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0)]
