"""Reads a BPF ring buffer (kernel/bpf/ringbuf.c), as a program on a socket call fills it.

The map's pages are: one with the consumer's position (ours to write), one with the producer's, then the data, twice
in a row, so that a record is never cut at the end. A record is 8 bytes of header (length, with two bits for "still
being written" and "discarded") and its data, padded to 8 bytes.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator

from kplab.errors import CaptureError

SIZE = 1 << 20
"""Bytes of `kplab_events` (socket_lb.c)."""
_BUSY, _DISCARDED = 1 << 31, 1 << 30
_HEADER = 8
_SHARED = 1
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
]  # fmt: skip
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class BpfRing:
    """One ring buffer; `fileno` is readable when there is something in it."""

    def __init__(self, fd: int, size: int = SIZE) -> None:
        """Map it. The descriptor stays the caller's.

        Raises:
            CaptureError: the kernel refuses.
        """
        self._fd = fd
        self._size = size
        # By hand: Python's mmap takes the length of an anonymous inode (0) for that of what can be mapped.
        self._ours = _map(fd, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE, 0)
        self._theirs = _map(fd, mmap.PAGESIZE + 2 * size, mmap.PROT_READ, mmap.PAGESIZE)
        self._consumed = ctypes.c_uint64.from_address(self._ours)
        self._produced = ctypes.c_uint64.from_address(self._theirs)

    def fileno(self) -> int:
        """The map's descriptor."""
        return self._fd

    def records(self) -> Iterator[bytes]:
        """Yield what is there, oldest first, and give its room back."""
        while (at := self._consumed.value) < self._produced.value:
            place = self._theirs + mmap.PAGESIZE + (at & (self._size - 1))
            header = ctypes.c_uint32.from_address(place).value
            if header & _BUSY:
                return
            length = header & ~(_BUSY | _DISCARDED)
            data = ctypes.string_at(place + _HEADER, length)
            self._consumed.value = at + (length + _HEADER + 7) // 8 * 8
            if not header & _DISCARDED:
                yield data

    def close(self) -> None:
        """Give the mappings back."""
        _libc.munmap(self._ours, mmap.PAGESIZE)
        _libc.munmap(self._theirs, mmap.PAGESIZE + 2 * self._size)


def _map(fd: int, length: int, protection: int, offset: int) -> int:
    address = _libc.mmap(None, length, protection, _SHARED, fd, offset)
    if address is None or address == _FAILED:
        raise CaptureError("map a BPF ring buffer", os.strerror(ctypes.get_errno()))
    return int(address)
