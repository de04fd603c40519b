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
_JUMP_EQUAL = 0x15
_RETURN = 0x06


def attach_filter(sock: socket.socket, instructions: Sequence[Instruction]) -> None:
    """Attach a program to a socket. Raises OSError."""
    code = b"".join(_INSTRUCTION.pack(*one) for one in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a length and a pointer, which the kernel follows during the call only.
    program = struct.pack("@HP", len(instructions), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def interface_filter(indexes: Sequence[int], snap: int) -> list[Instruction]:
    """Return a program that keeps `snap` bytes of frames on these interfaces (at most 250), and nothing of others."""
    tests = [(_JUMP_EQUAL, len(indexes) - n, 0, index) for n, index in enumerate(indexes)]
    return [_LOAD_INTERFACE, *tests, (_RETURN, 0, 0, 0), (_RETURN, 0, 0, snap)]


def netlink_type_filter(kind: int) -> list[Instruction]:
    """Return a program that keeps netlink datagrams whose first message is of this nlmsg_type.

    A BPF load is big-endian, nlmsg_type is in the machine's order.
    """
    wanted = int.from_bytes(struct.pack("=H", kind), "big")
    return [(_LOAD_HALFWORD, 0, 0, 4), (_JUMP_EQUAL, 0, 1, wanted), (_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0)]
