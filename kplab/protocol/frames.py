"""Frames on the channel: four bytes of length (big-endian), then one message as MessagePack.

No I/O: `encode` gives bytes, a `Decoder` is fed bytes as they come and gives messages. What is too long, cut
wrong, or not one of the messages of `kplab.protocol.messages` is a `ProtocolError`, and nothing else.
"""

from __future__ import annotations

import struct
from typing import Any, Generic, TypeVar

import msgspec

from kplab.errors import ProtocolError
from kplab.protocol.messages import MAX_FRAME, ToAgent, ToUser

HEADER = struct.Struct(">I")

_encoder = msgspec.msgpack.Encoder()

M = TypeVar("M")


def encode(message: ToAgent | ToUser) -> bytes:
    """Return a message as one frame.

    Raises:
        ProtocolError: the frame would be longer than `MAX_FRAME`.
    """
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME:
        raise ProtocolError(
            f"send a message of type {type(message).__name__}",
            f"it has {len(body)} bytes, and a frame holds at most {MAX_FRAME}",
            "ask for less at once: fewer packets, a smaller cluster",
        )
    return HEADER.pack(len(body)) + body


class Decoder(Generic[M]):
    """Takes frames apart. Once it has raised, the stream's place is lost: close the channel."""

    def __init__(self, union: Any) -> None:
        """`union` is `ToAgent` or `ToUser`: the messages that may come from that side."""
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(union)
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes held of a frame that is not complete; 0 at a frame's end."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[M]:
        """Take bytes in and return the messages that are complete, in order.

        Raises:
            ProtocolError: a frame is too long, or does not hold one of the messages.
        """
        self._buffer += data
        messages: list[M] = []
        start = 0
        while len(self._buffer) - start >= HEADER.size:
            (length,) = HEADER.unpack_from(self._buffer, start)
            if length > MAX_FRAME:
                raise ProtocolError("read a message", f"it announces {length} bytes; at most {MAX_FRAME} are allowed")
            end = start + HEADER.size + length
            if len(self._buffer) < end:
                break
            messages.append(self._decode(bytes(self._buffer[start + HEADER.size : end])))
            start = end
        del self._buffer[:start]
        return messages

    def _decode(self, body: bytes) -> M:
        # msgspec answers broken text inside a field with UnicodeDecodeError, and deep nesting with RecursionError.
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolError("read a message", f"it is not one that we know: {error}") from error


def agent_side() -> Decoder[ToAgent]:
    """Return a decoder for what the user's side sends."""
    return Decoder(ToAgent)


def user_side() -> Decoder[ToUser]:
    """Return a decoder for what the agent sends."""
    return Decoder(ToUser)
