"""A journey's frames as pcapng, each with the sentences of its hops as comments, for Wireshark.

The format is draft-ietf-opsawg-pcapng: a section header, one interface description for each end of a link, one
enhanced packet block for each frame. What the recording holds of a frame begins at the network header, so the link
type is LINKTYPE_RAW: Wireshark shows IP and upwards. A frame seen at both ends of a link is there twice, once
for each interface, as a capture of all namespaces at once would have it.
"""

from __future__ import annotations

import struct
from collections import defaultdict

from kplab.model.journey import Hop, Journey
from kplab.model.topology import End
from kplab.trace.events import FrameSeen, KernelEvent
from kplab.trace.identity import read
from kplab.trace.recording import Recording

LINKTYPE_RAW = 101
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_MAGIC = 0x1A2B3C4D
_END, _COMMENT = 0, 1
_SHB_OS, _SHB_APPLICATION = 3, 4
_IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL = 2, 3, 9
_EPB_FLAGS = 2
_INBOUND, _OUTBOUND = 1, 2
_NANOSECONDS = bytes([9])
_IP_TYPES = frozenset({0x0800, 0x86DD})


def pcapng(recording: Recording, journey: Journey) -> bytes:
    """Return the file's bytes: the frames that the journey tells of, in time order, with comments."""
    frames = _frames(recording, journey)
    ends = list(dict.fromkeys(End(event.node, frame.interface) for event, frame in frames))
    numbers = {end: number for number, end in enumerate(ends)}
    comments = _comments(journey)
    blocks = [_section(recording, journey)]
    blocks += [_interface(end) for end in ends]
    blocks += [
        _packet(event, frame, numbers[End(event.node, frame.interface)], comments.get(event.n, []))
        for event, frame in frames
    ]
    return b"".join(blocks)


def _frames(recording: Recording, journey: Journey) -> list[tuple[KernelEvent, FrameSeen]]:
    told = {n for hop in journey.hops for n in hop.events}
    frames = [
        (event, event.what)
        for event in recording.events
        if isinstance(event.what, FrameSeen) and event.n in told and event.what.protocol in _IP_TYPES
    ]
    return sorted(frames, key=lambda pair: (pair[0].stamp, pair[0].n))


def _comments(journey: Journey) -> dict[int, list[str]]:
    """Give each hop's sentence to a frame: hops in a namespace go with the frame that brought the packet there."""
    comments: dict[int, list[str]] = defaultdict(list)
    waiting: list[Hop] = []
    brought: int | None = None
    packet = 0
    for hop in journey.hops:
        if hop.packet != packet:
            packet, brought, waiting = hop.packet, None, []
        if hop.kind == "link" and hop.events:
            first, last = hop.events[0], hop.events[-1]
            # What the sender did before its first link belongs to the frame that leaves it.
            comments[first] += [_line(earlier) for earlier in waiting]
            comments[first].append(_line(hop))
            brought, waiting = last, []
        elif brought is None:
            waiting.append(hop)
        else:
            comments[brought].append(_line(hop))
    return comments


def _line(hop: Hop) -> str:
    """Return a hop's comment; rules say how many were tried before."""
    where = " ".join(part for part in (hop.node, hop.table, hop.chain) if part)
    warning = f" MODEL AND KERNEL DISAGREE: {hop.disagreement}" if hop.disagreement else ""
    return f"hop {hop.n}, {where} [{hop.evidence}]: {hop.text}{warning}"


def _section(recording: Recording, journey: Journey) -> bytes:
    facts = recording.facts
    comment = (
        f"{journey.packet} from {journey.sender}, mode {journey.mode} (iptables-{journey.backend}). {journey.outcome}"
    )
    options = _option(_COMMENT, comment.encode())
    options += _option(_SHB_OS, f"Linux {facts.kernel}".encode())
    options += _option(_SHB_APPLICATION, f"kplab {facts.kplab}".encode())
    return _block(_SECTION, struct.pack("<IHHq", _MAGIC, 1, 0, -1) + options + _option(_END, b""))


def _interface(end: End) -> bytes:
    options = _option(_IF_NAME, f"{end.namespace}:{end.interface}".encode())
    options += _option(_IF_DESCRIPTION, f"{end.interface} in the namespace of {end.namespace}".encode())
    options += _option(_IF_TSRESOL, _NANOSECONDS)
    return _block(_INTERFACE, struct.pack("<HHI", LINKTYPE_RAW, 0, 0) + options + _option(_END, b""))


def _packet(event: KernelEvent, frame: FrameSeen, interface: int, comments: list[str]) -> bytes:
    data = frame.packet
    headers = read(data)
    whole = max(len(data), headers.length) if headers else len(data)
    head = struct.pack("<IIIII", interface, event.stamp >> 32, event.stamp & 0xFFFFFFFF, len(data), whole)
    options = b"".join(_option(_COMMENT, comment.encode()) for comment in comments)
    options += _option(_EPB_FLAGS, struct.pack("<I", _OUTBOUND if frame.direction == "out" else _INBOUND))
    return _block(_PACKET, head + _padded(data) + options + _option(_END, b""))


def _option(code: int, value: bytes) -> bytes:
    cut = value[:0xFFFF]
    return struct.pack("<HH", code, len(cut)) + _padded(cut)


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
