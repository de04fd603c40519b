"""An event of the socket load balancer's programs -> `SocketCall`. `struct event` of kplab/lab/bpf/socket_lb.c."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal

from kplab.errors import CaptureError
from kplab.model import bpf_maps as layout
from kplab.trace.events import SocketCall

_HEAD = struct.Struct("=QQQIBBxx4s4s2s2s4x16s")
_LOOKUP = struct.Struct("=BB6x16s16s")
LOOKUPS = 7
SIZE = _HEAD.size + LOOKUPS * _LOOKUP.size

Call = Literal["connect", "getpeername", "sendmsg", "recvmsg"]
_CALLS: dict[int, Call] = {1: "connect", 2: "getpeername", 3: "sendmsg", 4: "recvmsg"}
_MAPS = {
    1: (layout.SERVICES, 12, 12), 2: (layout.BACKENDS, 4, 12), 3: (layout.REVERSE_SK, 16, 8),
    4: (layout.AFFINITY, 16, 16), 5: (layout.AFFINITY_MATCH, 8, 1),
}  # fmt: skip
"""A map's number in an event -> its name, and the bytes of its key and value."""
_FOUND, _STORED = 1, 2


@dataclass(frozen=True, slots=True)
class SocketEvent:
    """What a program reported: when (ns of CLOCK_MONOTONIC), in which network namespace, and what."""

    monotonic: int
    netns: int
    """The namespace's cookie."""
    call: SocketCall


def decode_bpf(data: bytes) -> SocketEvent:
    """Decode one record of the ring.

    Raises:
        CaptureError: it is not one of ours.
    """
    if len(data) < SIZE:
        raise CaptureError("decode a BPF event", f"{len(data)} bytes, and not {SIZE}")
    stamp, cookie, netns, pid, call, protocol, asked, answered, asked_port, answered_port, comm = _HEAD.unpack_from(
        data
    )
    if call not in _CALLS or protocol not in layout.PROTOCOLS:
        raise CaptureError("decode a BPF event", f"call {call}, protocol {protocol}")
    lookups: list[tuple[str, str, str]] = []
    stored: list[tuple[str, str, str]] = []
    for at in range(_HEAD.size, SIZE, _LOOKUP.size):
        number, answer, key, value = _LOOKUP.unpack_from(data, at)
        if number not in _MAPS:
            continue
        name, key_size, value_size = _MAPS[number]
        key, value = key[:key_size], value[:value_size]
        told = layout.describe_value(name, key, value) if answer else ""
        (stored if answer == _STORED else lookups).append((name, layout.describe_key(name, key), told))
    what = SocketCall(
        call=_CALLS[call],
        pid=pid,
        program=comm.split(b"\0")[0].decode(errors="replace"),
        protocol="TCP" if protocol == layout.NUMBERS["TCP"] else "UDP",
        asked=_end(asked, asked_port),
        answered=_end(answered, answered_port),
        cookie=cookie,
        lookups=tuple(lookups),
        stored=tuple(stored),
    )
    return SocketEvent(stamp, netns, what)


def _end(address: bytes, port: bytes) -> str:
    return f"{IPv4Address(address)}:{int.from_bytes(port, 'big')}"
