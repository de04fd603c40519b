"""One user's side: messages in, messages out, never blocking on either."""

from __future__ import annotations

import socket

from kplab.errors import KplabError, ProtocolError
from kplab.protocol.frames import agent_side, encode
from kplab.protocol.messages import Failed, ToAgent, ToUser

_CHUNK = 1 << 20
_MOST_WAITING = 256 * 1024 * 1024
"""Bytes that may wait for a peer that does not read; beyond them it is taken to be gone."""


class Connection:
    """A channel to a user's side."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.greeted = False
        """Whether Hello has been accepted."""
        sock.setblocking(False)
        self._decoder = agent_side()
        self._waiting = bytearray()
        self.gone = False

    def receive(self) -> list[ToAgent]:
        """Return the messages that have come; sets `gone` at the end.

        Raises:
            ProtocolError: what came is not of our protocol.
        """
        try:
            data = self.socket.recv(_CHUNK)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.gone = True
            return []
        return self._decoder.feed(data)

    def send(self, message: ToUser) -> None:
        """Send a message, or as much of it as goes; `flush` sends the rest. To a peer that is gone it is lost."""
        try:
            frame = encode(message)
        except ProtocolError as error:
            frame = encode(failure(error, message.id))
        self._waiting += frame
        if len(self._waiting) > _MOST_WAITING:
            self.gone = True
        self.flush()

    @property
    def unsent(self) -> bool:
        """Whether something waits for `flush`."""
        return bool(self._waiting) and not self.gone

    def flush(self) -> None:
        """Send what waits, as far as the peer takes it."""
        try:
            while self._waiting and not self.gone:
                sent = self.socket.send(memoryview(self._waiting)[:_CHUNK])
                del self._waiting[:sent]
        except BlockingIOError:
            return
        except OSError:
            self.gone = True

    def close(self) -> None:
        """Close the channel."""
        self.gone = True
        self.socket.close()


def failure(error: KplabError, request: int) -> Failed:
    """Return an error as the message that carries it."""
    return Failed(id=request, error=type(error).__name__, tried=error.tried, happened=error.happened, hint=error.hint)
