"""bpf(2), as far as eBPF mode needs it: open what is pinned, attach to a cgroup, read and write a map's elements.

Structures are those of `union bpf_attr` in linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from kplab.errors import ApplyError, LabError

_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
"""__NR_bpf by machine."""
_LOOKUP, _UPDATE, _DELETE, _NEXT, _OBJ_GET, _LINK_CREATE = 1, 2, 3, 4, 7, 28
CGROUP_INET4_CONNECT, CGROUP_UDP4_SENDMSG, CGROUP_UDP4_RECVMSG, CGROUP_INET4_GETPEERNAME = 10, 14, 19, 29
"""enum bpf_attach_type."""
_ATTR_SIZE = 64

_libc = ctypes.CDLL(None, use_errno=True)


class BpfMapFile:
    """A pinned hash map, open."""

    def __init__(self, path: Path, key_size: int, value_size: int) -> None:
        """Open it.

        Raises:
            LabError: there is none, or the kernel refuses.
        """
        self.path = path
        self._sizes = (key_size, value_size)
        self._fd = open_pinned(path)

    def close(self) -> None:
        """Close it; the map stays, as long as it is pinned or a program uses it."""
        os.close(self._fd)

    def get(self, key: bytes) -> bytes | None:
        """Return an element's value, or None when there is none."""
        value = ctypes.create_string_buffer(self._sizes[1])
        found = _element(_LOOKUP, self._fd, key, value)
        return value.raw if found == 0 else None

    def put(self, key: bytes, value: bytes) -> None:
        """Write an element.

        Raises:
            ApplyError: the kernel refuses, E2BIG when the map is full.
        """
        number = _element(_UPDATE, self._fd, key, ctypes.create_string_buffer(value, len(value)))
        if number:
            raise ApplyError(f"write an element of {self.path}", f"bpf(2): {os.strerror(number)}")

    def remove(self, key: bytes) -> None:
        """Remove an element; one that is not there will do.

        Raises:
            ApplyError: the kernel refuses.
        """
        number = _element(_DELETE, self._fd, key, None)
        if number not in (0, errno.ENOENT):
            raise ApplyError(f"remove an element of {self.path}", f"bpf(2): {os.strerror(number)}")

    def keys(self) -> Iterator[bytes]:
        """Yield every key. Nothing may be removed meanwhile: the walk would begin anew."""
        following = ctypes.create_string_buffer(self._sizes[0])
        key: bytes | None = None
        while _element(_NEXT, self._fd, key, following) == 0:
            key = following.raw
            yield key


def open_pinned(path: Path) -> int:
    """Return a descriptor of a pinned program or map.

    Raises:
        LabError: there is none, or the kernel refuses.
    """
    name = ctypes.create_string_buffer(os.fsencode(path))
    fd, number = _bpf(_OBJ_GET, struct.pack("=QII", ctypes.addressof(name), 0, 0))
    if fd < 0:
        hint = "programs and maps are there in a lab in ebpf mode only: kplab lab up --mode ebpf"
        raise LabError(f"open {path}", f"bpf(2), BPF_OBJ_GET: {os.strerror(number)}", hint)
    return fd


def link_to_cgroup(program: int, cgroup: int, attach_type: int) -> int:
    """Attach a program to a cgroup (both descriptors); return the link, which holds it there until it is closed.

    Raises:
        LabError: the kernel refuses, like EPERM where another program was attached to be the only one.
    """
    fd, number = _bpf(_LINK_CREATE, struct.pack("=IIII", program, cgroup, attach_type, 0))
    if fd < 0:
        raise LabError("attach a BPF program to the cgroup", f"bpf(2), BPF_LINK_CREATE: {os.strerror(number)}")
    return fd


def _element(command: int, fd: int, key: bytes | None, value: ctypes.Array[ctypes.c_char] | None) -> int:
    """Do one command on a map's element; return 0 or the errno."""
    held = ctypes.create_string_buffer(key, len(key)) if key is not None else None
    addresses = [ctypes.addressof(each) if each is not None else 0 for each in (held, value)]
    status, number = _bpf(command, struct.pack("=IIQQQ", fd, 0, *addresses, 0))
    return number if status < 0 else 0


def _bpf(command: int, attr: bytes) -> tuple[int, int]:
    number = _NUMBERS.get(os.uname().machine)
    if number is None:
        raise LabError("call bpf(2)", f"kplab does not know its number on {os.uname().machine}")
    union = ctypes.create_string_buffer(attr, _ATTR_SIZE)
    return _libc.syscall(number, command, union, _ATTR_SIZE), ctypes.get_errno()
