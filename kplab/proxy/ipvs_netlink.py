"""Many netlink requests in few system calls: the kernel takes a whole buffer of them, and tells what it refused.

Each request is answered only if it fails; the last of a buffer is always answered, so that a buffer that went well
costs one send and one receive. ipvsadm opens a socket and asks for the family's number anew for every command.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator, Sequence

from kplab.errors import LabError

ROUTE, NETFILTER, GENERIC = 0, 12, 16
"""NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_GENERIC."""

BATCH = 200
"""Requests in one buffer. If all of them fail, their answers of up to 900 bytes fit into the receive buffer."""

_ATTRIBUTE = struct.Struct("=HH")
_HEADER = struct.Struct("=IHHII")
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_CONTROL, _GET_FAMILY = 0x10, b"\x03\x01\x00\x00"
_PATIENCE = 30.0
"""Seconds for one answer, which the kernel has always given by the time a send returns."""


class Netlink:
    """A socket of one netlink protocol, in the network namespace in which it was made."""

    def __init__(self, protocol: int) -> None:
        """Open it. Raises LabError where the kernel has no such protocol."""
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            raise LabError(f"open a netlink socket of protocol {protocol}", str(error)) from error
        self._socket.settimeout(_PATIENCE)
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def family(self, name: str) -> int:
        """Return the number of a generic netlink family, whose module the kernel loads where it can.

        Raises:
            LabError: the kernel has no such family.

        """
        text = name.encode() + b"\0"
        body = _GET_FAMILY + struct.pack("=HH", 4 + len(text), 2) + text + bytes(-len(text) % 4)
        with _told(f"ask the kernel for its netlink family {name}"):
            self._send([self._request(_CONTROL, body, _REQUEST)])
            for kind, _, payload in self._receive():
                if kind == _ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    raise OSError(code, "the kernel has no such family")
                at = payload.index(struct.pack("=HH", 6, 1), 4)
                return int(struct.unpack_from("=H", payload, at + 4)[0])
        raise LabError(f"ask the kernel for its netlink family {name}", "no answer")

    def change(self, kind: int, bodies: Sequence[bytes], flags: int = 0) -> dict[int, int]:
        """Send a request of one kind for each body, in order; one that fails does not keep the others from being tried.

        Returns the errno of each that failed, by its place. Raises LabError where the socket itself fails.
        """
        failed: dict[int, int] = {}
        for start in range(0, len(bodies), BATCH):
            part = bodies[start : start + BATCH]
            first = self._sequence + 1
            requests = [self._request(kind, body, _REQUEST | flags) for body in part[:-1]]
            requests.append(self._request(kind, part[-1], _REQUEST | _ACK | flags))
            with _told("write to the kernel by netlink"):
                self._send(requests)
                failed |= {start + sequence - first: code for sequence, code in self._refused(first, self._sequence)}
        return failed

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Return what comes of a question that is answered by any number of messages. Raises LabError."""
        with _told("read from the kernel by netlink"):
            self._send([self._request(kind, body, _REQUEST | _DUMP)])
            answers: list[bytes] = []
            while True:
                for answer, sequence, payload in self._receive():
                    if sequence != self._sequence:
                        continue
                    if answer in (_DONE, _ERROR):
                        code = -struct.unpack_from("=i", payload)[0] if len(payload) >= 4 else 0
                        if code:
                            raise OSError(code, "the kernel refused the question")
                        return answers
                    answers.append(payload)

    def _request(self, kind: int, body: bytes, flags: int) -> bytes:
        self._sequence = (self._sequence + 1) & 0x7FFFFFFF
        return _HEADER.pack(16 + len(body), kind, flags, self._sequence, 0) + body + bytes(-len(body) % 4)

    def _send(self, requests: Sequence[bytes]) -> None:
        self._socket.send(b"".join(requests))

    def _refused(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield sequence and errno of what failed, until the last request has been answered."""
        while True:
            for kind, sequence, payload in self._receive():
                if kind != _ERROR or not first <= sequence <= last:
                    continue
                code = -struct.unpack_from("=i", payload)[0]
                if code:
                    yield sequence, code
                if sequence == last:
                    return

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield kind, sequence and payload of the messages that come next."""
        data = self._socket.recv(1 << 18)
        at = 0
        while at + 16 <= len(data):
            length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
            if length < 16:
                return
            yield kind, sequence, data[at + 16 : at + length]
            at += (length + 3) & ~3


@contextlib.contextmanager
def _told(tried: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LabError(tried, str(error)) from error


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the attributes of a message or of a nested attribute: their numbers, without flags, and their payloads."""
    at, end = 0, len(data) - 4
    while at <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3
