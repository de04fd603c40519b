"""The pods' servers: one small process a pod, which answers on the pod's ports and says whom it saw.

HTTP (plain) answers any request with lines `pod: …`, `node: …`, `peer: …`, `local: …` and closes. TCP echo and
UDP echo give back what they get. `kplab.lab.nursery` starts them.

Imports nothing but a little of the standard library: every pod has a process that holds it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
from collections.abc import Callable
from typing import Any, Literal, NoReturn

Kind = Literal["http", "tcp-echo", "udp-echo"]
LONGEST_DATAGRAM = 65536
LONGEST_REQUEST = 65536
"""Bytes of an HTTP request's head, after which it is answered whatever it says."""
BACKLOG = 1024

Say = Callable[[dict[str, Any]], None]


class PodServer:
    """One pod's servers, in the pod's namespace, in a process of their own."""

    def __init__(self, pod: str, node: str, say: Say) -> None:
        self._pod = pod
        self._node = node
        self._say = say
        self._selector = selectors.DefaultSelector()
        self._requests: dict[socket.socket, bytearray] = {}

    def listen(self, protocol: str, port: int, kind: Kind) -> None:
        """Bind a port in both IP families. Raises OSError."""
        for family in (socket.AF_INET, socket.AF_INET6):
            if family == socket.AF_INET6 and not os.path.exists("/proc/net/if_inet6"):  # noqa: PTH110
                continue
            server = socket.socket(family, socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM)
            server.setblocking(False)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                server.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            server.bind(("", port))
            if protocol == "TCP":
                server.listen(BACKLOG)
                self._selector.register(server, selectors.EVENT_READ, (self._accept, kind))
            else:
                self._selector.register(server, selectors.EVENT_READ, (self._datagram, kind))

    def serve(self) -> NoReturn:
        """Answer until killed."""
        while True:
            for key, _ in self._selector.select():
                handler, kind = key.data
                # A peer may reset at any moment; that ends its connection, not the server.
                with contextlib.suppress(BlockingIOError):
                    handler(key.fileobj, kind)

    def _accept(self, server: socket.socket, kind: Kind) -> None:
        try:
            connection, peer = server.accept()
        except ConnectionError:
            return
        connection.setblocking(False)
        local = connection.getsockname()
        self._tell("TCP", local, peer, kind)
        self._requests[connection] = bytearray()
        self._selector.register(connection, selectors.EVENT_READ, (self._stream, kind))

    def _stream(self, connection: socket.socket, kind: Kind) -> None:
        try:
            data = connection.recv(65536)
            if not data:
                self._hang_up(connection)
            elif kind == "tcp-echo":
                connection.sendall(data)
            else:
                self._http(connection, data)
        except OSError:
            # Reset by its peer; or the peer does not read, and loses its connection rather than stopping the others'.
            self._hang_up(connection)

    def _http(self, connection: socket.socket, data: bytes) -> None:
        head = self._requests[connection]
        head += data
        if b"\r\n\r\n" not in head and len(head) < LONGEST_REQUEST:
            return
        connection.sendall(self.answer(_plain(connection.getpeername()), _plain(connection.getsockname())))
        connection.shutdown(socket.SHUT_WR)
        self._hang_up(connection)

    def answer(self, peer: str, local: str) -> bytes:
        """Return the HTTP answer to a peer ("address:port")."""
        body = f"pod: {self._pod}\nnode: {self._node}\npeer: {peer}\nlocal: {local}\n".encode()
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body

    def _hang_up(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._requests[connection]
        connection.close()

    def _datagram(self, server: socket.socket, kind: Kind) -> None:
        data, ancillary, _, peer = server.recvmsg(LONGEST_DATAGRAM, 256)
        address, reply = _arrived_at(ancillary)
        self._tell("UDP", (address, server.getsockname()[1]), peer, kind)
        # From the address that it was sent to: a shared namespace has thousands.
        with contextlib.suppress(OSError):
            server.sendmsg([data], reply, 0, peer)

    def _tell(self, protocol: str, local: tuple[Any, ...], peer: tuple[Any, ...], kind: Kind) -> None:
        self._say({"protocol": protocol, "local": _plain(local), "peer": _plain(peer), "note": kind})


_IP_PKTINFO = 8
"""linux/in.h; Python's socket module does not name it."""
_IN_PKTINFO = struct.Struct("=I4s4s")
_IN6_PKTINFO = struct.Struct("=16sI")


def _arrived_at(ancillary: list[tuple[int, int, bytes]]) -> tuple[str, list[tuple[int, int, bytes]]]:
    """The address that a datagram was sent to, and what makes its answer come from there."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            _, _, destination = _IN_PKTINFO.unpack_from(data)
            info = _IN_PKTINFO.pack(0, destination, b"\0" * 4)
            return socket.inet_ntop(socket.AF_INET, destination), [(level, kind, info)]
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            destination, index = _IN6_PKTINFO.unpack_from(data)
            link_local = destination[:2] == b"\xfe\x80"
            info = _IN6_PKTINFO.pack(destination, index if link_local else 0)
            return socket.inet_ntop(socket.AF_INET6, destination), [(level, kind, info)]
    return "", []


def _plain(address: tuple[Any, ...]) -> str:
    host = str(address[0]).split("%")[0]
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
