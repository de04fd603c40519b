"""The channel over a program's standard input and output: how a container carries it.

Only the standard library is imported, and the carrying is a process of its own: the agent's loop
knows sockets only.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading

_CHUNK = 1 << 16


def carry(incoming: int, outgoing: int, sock: socket.socket) -> None:
    """Pass bytes from a descriptor to a socket and from it to another one; return when either side has ended.

    What the socket's other end sent before it hung up is handed on first.
    """
    threading.Thread(target=_carry_in, args=(incoming, sock), daemon=True).start()
    with contextlib.suppress(OSError):
        while data := sock.recv(_CHUNK):
            write_all(outgoing, data)


def _carry_in(incoming: int, sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(incoming, _CHUNK):
            sock.sendall(data)
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; blocks.

    Raises:
        OSError: nobody reads any more.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
