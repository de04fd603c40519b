"""Carries several connections over one descriptor: a socket outside the guest, a serial port inside it.

Used by both ends. Only the standard library is imported, because inside an emulated guest each module costs time.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Callable, Iterable
from functools import partial

from kplab.protocol.streams import Unpacker, pack

_CHUNK = 1 << 16
_MOST_WAITING = 4 << 20
"""Bytes for the other end that may wait; beyond them nothing more is taken from the connections."""


class Relay:
    """Passes bytes between numbered connections and the trunk that carries them all."""

    def __init__(self, trunk: int, connect: Callable[[], socket.socket] | None = None) -> None:
        """`connect` opens a connection for a stream that the other end begins; without it such a stream is dropped."""
        os.set_blocking(trunk, False)
        self._trunk = trunk
        self._connect = connect
        self._unpacker = Unpacker()
        self._outgoing = bytearray()
        self._streams: dict[int, socket.socket] = {}
        self._unwritten: dict[int, bytearray] = {}
        self._next = 0
        self.ended = False
        """Whether the trunk has gone."""

    @property
    def idle(self) -> bool:
        """Whether no connection is left."""
        return not self._streams

    def add(self, sock: socket.socket) -> None:
        """Carry one more connection, as a stream of its own."""
        self._next = self._next % 0xFFFF + 1
        self._open(self._next, sock)

    def turn(self, others: Iterable[tuple[int, Callable[[], None]]] = ()) -> None:
        """Wait until something can be done, and do it. `others` are descriptors to read, and who reads them."""
        with selectors.DefaultSelector() as selector:
            for descriptor, handler in others:
                selector.register(descriptor, selectors.EVENT_READ, (handler, handler))
            writing = selectors.EVENT_WRITE if self._outgoing else 0
            selector.register(self._trunk, selectors.EVENT_READ | writing, (self._from_trunk, self._to_trunk))
            for number, sock in self._streams.items():
                mask = selectors.EVENT_WRITE if self._unwritten[number] else 0
                if len(self._outgoing) < _MOST_WAITING:
                    mask |= selectors.EVENT_READ
                if mask:
                    selector.register(sock, mask, (partial(self._from, number), partial(self._to, number)))
            for key, mask in selector.select():
                for event, handler in zip((selectors.EVENT_READ, selectors.EVENT_WRITE), key.data, strict=True):
                    if mask & event:
                        handler()

    def _open(self, number: int, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._streams[number] = sock
        self._unwritten[number] = bytearray()

    def _close(self, number: int) -> None:
        self._streams.pop(number).close()
        del self._unwritten[number]

    def _from_trunk(self) -> None:
        try:
            data = os.read(self._trunk, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return
        for number, piece in self._unpacker.feed(data):
            self._deliver(number, piece)

    def _deliver(self, number: int, piece: bytes) -> None:
        if not piece:
            if number in self._streams:
                self._close(number)
            return
        if number not in self._streams:
            if self._connect is None:
                return  # it was closed here while these bytes were on their way
            self._open(number, self._connect())
        self._unwritten[number] += piece
        self._to(number)

    def _to_trunk(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._outgoing:
                del self._outgoing[: os.write(self._trunk, bytes(self._outgoing[:_CHUNK]))]

    def _from(self, number: int) -> None:
        if number not in self._streams:
            return
        try:
            data = self._streams[number].recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(number)
        self._outgoing += pack(number, data)
        self._to_trunk()

    def _to(self, number: int) -> None:
        if number not in self._streams:
            return
        waiting = self._unwritten[number]
        try:
            while waiting:
                del waiting[: self._streams[number].send(bytes(waiting[:_CHUNK]))]
        except BlockingIOError:
            return
        except OSError:
            self._close(number)
            self._outgoing += pack(number, b"")
