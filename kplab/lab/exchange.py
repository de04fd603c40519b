"""A TCP or UDP exchange by plain sockets: what a real client's `tcp` and `udp` do, in a process of their own."""

from __future__ import annotations

import errno
import os
import socket
import time

QUIET = 0.3
"""Seconds without an answer after which a peer that has answered is taken to have said all."""
LOCAL = "kplab-local "
"""Begins the line on standard error by which a client tells its own address."""


def exchange(kind: str, host: str, port: int, payload: bytes, source_port: int | None, limit: float) -> int:
    """Connect, send, print the answer; return an exit status. Gives up after `limit` seconds."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + limit
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as sock:
        sock.settimeout(limit)
        try:
            if source_port is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("", source_port))
            sock.connect((host, port))
            _tell_local(sock)
            if payload:
                sock.sendall(payload)
            answered = _receive(sock, kind, deadline)
        except TimeoutError:
            _say(f"{kind}: no answer from {host} port {port} within {limit:g} s")
            return 1
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "?")
            _say(f"{kind}: {host} port {port}: {name}: {error.strerror}")
            return 1
    return 0 if answered or kind == "tcp" else 1


def _receive(sock: socket.socket, kind: str, deadline: float) -> bool:
    """Print what comes until the peer ends, falls silent, or (UDP) has answered once."""
    answered = False
    while True:
        rest = deadline - time.monotonic()
        sock.settimeout(max(0.001, min(rest, QUIET) if answered else rest))
        try:
            data = sock.recv(65536)
        except TimeoutError:
            if answered:
                return True
            raise
        if data:
            os.write(1, data)
            answered = True
        if kind == "udp" or not data:
            return answered


def _tell_local(sock: socket.socket) -> None:
    host, port = sock.getsockname()[:2]
    _say(f"{LOCAL}[{host}]:{port}" if ":" in host else f"{LOCAL}{host}:{port}")


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode())
