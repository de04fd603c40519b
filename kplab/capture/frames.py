"""Frames on links: one AF_PACKET socket a namespace, with the kernel's own time of each frame.

One socket for all of a namespace's interfaces keeps their frames in order, and costs one descriptor. A BPF
program lets only the asked interfaces through and cuts frames to the snap length in the kernel.

A frame is seen leaving ("out", PACKET_OUTGOING) before its peer sees it come in. Frames of up to 64 KiB are seen where
the kernel would cut them up late (GSO), and a locally made frame's checksum is not filled in yet.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Mapping

from kplab.capture.bpf import MOST_INTERFACES, attach_filter, frame_filter
from kplab.capture.netlink import RECEIVE_BUFFER, drops, enlarge
from kplab.capture.sources import BURST, Stamped
from kplab.errors import CaptureError
from kplab.trace.events import FrameSeen

SNAP = 2048
"""Bytes kept of a frame, Ethernet header included."""

ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4
SO_TIMESTAMPNS = 35  # SO_TIMESTAMPNS_OLD, whose control message has this number too
_TIMESPEC = struct.Struct("=qq")
_ETHERNET = 14


def decode_frame(frame: bytes, interface: str, kind: int) -> FrameSeen | None:
    """Return the event of an Ethernet frame; None when it is shorter than its header. `kind` is sll_pkttype."""
    if len(frame) < _ETHERNET:
        return None
    return FrameSeen(
        interface=interface,
        direction="out" if kind == PACKET_OUTGOING else "in",
        packet=frame[_ETHERNET:],
        protocol=int.from_bytes(frame[12:14], "big"),
        source_mac=frame[6:12].hex(":"),
        destination_mac=frame[0:6].hex(":"),
    )


class FrameSource:
    """The frames of one namespace; see `kplab.capture.sources.Source`."""

    name = "frames"

    def __init__(self, place: str, sock: socket.socket, clock: Callable[[], int]) -> None:
        self.place = place
        self._socket = sock
        self._clock = clock
        self._raw: list[tuple[bytes, list[tuple[int, int, bytes]], tuple[str, int, int, int, bytes], int]] = []
        self._short = 0
        self._dropped = 0

    def fileno(self) -> int:
        """The socket's file descriptor."""
        return self._socket.fileno()

    def read(self) -> int:
        """Take what waits; see `Source`."""
        receive, raw, stamp, count = self._socket.recvmsg, self._raw, self._clock(), 0
        try:
            while count < BURST:
                data, control, _flags, address = receive(SNAP, 64)
                raw.append((data, control, address, stamp))
                count += 1
        except BlockingIOError:
            pass
        return count

    def events(self) -> Iterator[Stamped]:
        """Decode what was read."""
        raw, self._raw = self._raw, []
        for data, control, address, stamp in raw:
            if (event := decode_frame(data, address[0], address[2])) is None:
                self._short += 1
            else:
                yield _stamp(control) or stamp, event

    def lost(self) -> int:
        """How many frames were dropped (what PACKET_STATISTICS calls tp_drops) or too short, since last asked."""
        total = drops(self._socket) + self._short
        fresh, self._dropped = total - self._dropped, total
        return fresh

    def clear(self) -> None:
        """Forget what was read and what was lost."""
        self._raw.clear()
        self.lost()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def open_frames(place: str, interfaces: Mapping[str, int], clock: Callable[[], int]) -> FrameSource:
    """Watch these interfaces (name -> index) of the current namespace.

    Raises:
        CaptureError: the kernel refuses AF_PACKET (it wants CAP_NET_RAW), or there are too many interfaces.
    """
    if len(interfaces) > MOST_INTERFACES:
        raise CaptureError(f"watch the links of {place}", f"{len(interfaces)} interfaces", f"at most {MOST_INTERFACES}")
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
    except OSError as error:
        raise CaptureError(
            f"watch the links of {place}", str(error), "AF_PACKET wants CAP_NET_RAW in the namespace's user namespace"
        ) from error
    try:
        attach_filter(sock, frame_filter(sorted(interfaces.values()), SNAP))
        enlarge(sock, RECEIVE_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError as error:
        sock.close()
        raise CaptureError(f"watch the links of {place}", str(error)) from error
    source = FrameSource(place, sock, clock)
    # Python binds an AF_PACKET socket to one interface only, so ours listens from its making; what came in before
    # the filter stood is thrown away.
    source.read()
    source.clear()
    return source


def _stamp(control: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return None
