"""The time of a connection's first packet, on the wire: from the frame out of its sender to the frame into a pod.

Run in the sender's namespace inside a lab: `python -m kplab.lab.first_packet ADDRESS PORT ROUNDS NAMESPACE…`, the
namespaces being those of the pods. Each round connects once, and subtracts the kernel's own stamps (SO_TIMESTAMPNS) of
two frames: the SYN that left the sender, and the first SYN after it that came into any of the pods. Which packet that
is depends on the mode: the very same one, or that of a second connection which a process opened meanwhile. Beside it
stands the time from the call of connect() to the same arrival, for modes that work in the call, before any frame.

Prints one line of JSON: {"nanoseconds": [...], "from_call": [...], "missed": n}, a number in both lists for each round;
`missed` counts rounds in which either frame was not seen.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kplab.lab.netns import NAMES, enter_for_good

WARM_UP = 5
"""Rounds before those that count: neighbours are asked for, caches filled."""
PATIENCE = 1.0
"""Seconds that a round may take."""
ETH_P_ALL, PACKET_HOST, PACKET_OUTGOING, SO_TIMESTAMPNS = 3, 0, 4, 35
"""linux/if_ether.h, linux/if_packet.h, asm-generic/socket.h."""
_TIMESPEC = struct.Struct("=qq")
_SYN, _SYN_ACK = 0x02, 0x12


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return 0."""
    address, port, rounds, *pods = argv
    watched = _sockets(pods)
    target = (address, int(port))
    times = [_round(target, *watched) for _ in range(WARM_UP + int(rounds))][WARM_UP:]
    found = [each for each in times if each is not None]
    wire, call = [each[0] for each in found], [each[1] for each in found]
    answer = {"nanoseconds": wire, "from_call": call, "missed": len(times) - len(found)}
    print(json.dumps(answer))  # noqa: T201 - it is its answer
    return 0


def _sockets(pods: Sequence[str]) -> tuple[socket.socket, list[socket.socket]]:
    """Watch this namespace, and each pod's."""
    mine = _watch()
    home = Path("/proc/self/ns/net").readlink()
    theirs = []
    own = next(path for path in NAMES.iterdir() if f"net:[{path.stat().st_ino}]" == str(home))
    for pod in pods:
        enter_for_good(NAMES / pod)
        theirs.append(_watch())
    enter_for_good(own)
    return mine, theirs


def _watch() -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return sock


def _round(
    target: tuple[str, int], mine: socket.socket, theirs: list[socket.socket]
) -> tuple[int, int] | None:  # fmt: skip
    """Connect once; return nanoseconds on the wire, and from the call. Both clocks are CLOCK_REALTIME."""
    for sock in (mine, *theirs):
        _syns(sock, PACKET_HOST)
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        called = time.time_ns()
        with contextlib.suppress(OSError):
            connection.connect(target)
        left = min(_syns(mine, PACKET_OUTGOING), default=None)
        came = None if left is None else _arrival(left, theirs)
        return None if left is None or came is None else (came - left, came - called)


def _arrival(left: int, theirs: list[socket.socket]) -> int | None:
    """Wait for the first SYN into a pod after `left`; return its stamp."""
    deadline = time.monotonic() + PATIENCE
    while (rest := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select(theirs, [], [], rest)
        came = [stamp for sock in ready for stamp in _syns(sock, PACKET_HOST) if stamp >= left]
        if came:
            return min(came)
    return None


def _syns(sock: socket.socket, kind: int) -> list[int]:
    """Read all that waits; return the stamps of SYNs that went this way."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            data, control, _, address = sock.recvmsg(256, 64)
            stamp = next((_TIMESPEC.unpack(d) for _, t, d in control if t == SO_TIMESTAMPNS), None)
            if stamp and address[2] == kind and _flags(data) & _SYN_ACK == _SYN:
                found.append(stamp[0] * 1_000_000_000 + stamp[1])
    return found


def _flags(packet: bytes) -> int:
    """Return TCP's flags of an IP packet without extension headers; 0 for anything else."""
    version = packet[0] >> 4 if packet else 0
    start = (packet[0] & 15) * 4 if version == 4 else 40
    protocol = packet[9] if version == 4 and len(packet) > 9 else packet[6] if len(packet) > 6 else 0
    return packet[start + 13] if protocol == socket.IPPROTO_TCP and len(packet) > start + 13 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
