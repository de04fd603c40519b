"""Several byte streams over one: what a guest's single serial port carries.

A frame is the stream's number (two bytes), a length (four bytes, both big-endian) and that many bytes. A stream begins
with its first frame and ends with an empty one. No I/O, and nothing but the standard library: both ends start fast.
"""

from __future__ import annotations

import struct

HEADER = struct.Struct(">HI")
LONGEST = 1 << 16
"""Bytes of one frame at most, so that no stream holds another up for long."""


def pack(number: int, data: bytes) -> bytes:
    """Return bytes of a stream as frames; no bytes at all mean its end."""
    if not data:
        return HEADER.pack(number, 0)
    pieces = (data[start : start + LONGEST] for start in range(0, len(data), LONGEST))
    return b"".join(HEADER.pack(number, len(piece)) + piece for piece in pieces)


class Unpacker:
    """Takes frames apart."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes in; return what is complete, as (stream's number, bytes), b"" at a stream's end.

        Raises:
            ValueError: a frame is longer than any that `pack` makes; the place in the stream is lost.
        """
        self._buffer += data
        found = []
        start = 0
        while len(self._buffer) - start >= HEADER.size:
            number, length = HEADER.unpack_from(self._buffer, start)
            if length > LONGEST:
                raise ValueError(f"a frame announces {length} bytes, and none has more than {LONGEST}")
            end = start + HEADER.size + length
            if len(self._buffer) < end:
                break
            found.append((number, bytes(self._buffer[start + HEADER.size : end])))
            start = end
        del self._buffer[:start]
        return found
