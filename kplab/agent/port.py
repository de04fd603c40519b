"""The channel inside a guest: a virtio serial port that carries every connection, each handed to the agent as a socket.

The carrying is done by a child, forked before anything large is loaded, so that the agent's loop knows sockets only.
"""

from __future__ import annotations

import os
import socket
from typing import NoReturn

from kplab.protocol.relay import Relay


def listen_on_port(path: str) -> socket.socket:
    """Return a listening socket on which the port's connections arrive; the port's end ends them."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("")  # the kernel chooses an abstract name (unix(7), autobind)
    listener.listen(8)
    if os.fork() == 0:
        _carry(path, listener)
    return listener


def _carry(path: str, listener: socket.socket) -> NoReturn:
    address = listener.getsockname()
    listener.close()
    status = 1
    try:
        relay = Relay(os.open(path, os.O_RDWR | os.O_CLOEXEC), lambda: _connected(address))
        while not relay.ended:
            relay.turn()
        status = 0
    finally:
        os._exit(status)


def _connected(address: bytes) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(address)
    return sock
