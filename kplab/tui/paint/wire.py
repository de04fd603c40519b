"""What was on each link, as tcpdump would say it."""

from __future__ import annotations

from kplab.model.journey import Hop, Journey
from kplab.model.packet import Headers
from kplab.model.wire import read_headers
from kplab.trace.events import FrameSeen
from kplab.trace.recording import Recording
from kplab.tui.paint.lines import Line, Span, StyleName, clip_line, line


def wire_rows(journey: Journey, recording: Recording | None) -> tuple[tuple[int, str], ...]:
    """Return (hop, text) for each crossing of a link, out of the bytes where those were kept."""
    frames = {e.n: e.what for e in recording.events if isinstance(e.what, FrameSeen)} if recording else {}
    links = [(i, hop) for i, hop in enumerate(journey.hops) if hop.kind == "link"]
    ways = max((len(_way(hop)) for _, hop in links), default=0)
    return tuple((i, f"{_way(hop):<{ways}}  {_said(hop, frames)}") for i, hop in links)


def _way(hop: Hop) -> str:
    return f"{hop.node} → {hop.peer or '?'}"


def _said(hop: Hop, frames: dict[int, FrameSeen]) -> str:
    """Say what crossed; what tells packets apart stands first, where there is always room for it."""
    frame = next((frames[n] for n in hop.events if n in frames), None)
    said = _headers(frame.packet) if frame else None
    by = f"  by {hop.interface}" if hop.interface else ""
    return f"{said or f'{hop.before.proto:<8} {hop.before.src} → {hop.before.dst}'}{by}"


def _headers(packet: bytes) -> str | None:
    try:
        found = read_headers(packet)
    except ValueError:
        return None
    kind = f"{found.proto} [{found.flags}]" if found.flags is not None else found.proto
    return f"{kind:<8} {_ends(found)}  ttl {found.ttl} length {found.length}{_detail(found)}"


def _ends(found: Headers) -> str:
    def end(address: str, port: int | None) -> str:
        host = f"[{address}]" if ":" in address else address
        return host if port is None else f"{host}:{port}"

    return f"{end(found.src, found.sport)} → {end(found.dst, found.dport)}"


def _detail(found: Headers) -> str:
    if found.flags is not None:
        return f" seq {found.seq} ack {found.ack}"
    if found.icmp_type is not None:
        return f" type {found.icmp_type} code {found.icmp_code}"
    return ""


def paint_wire(text: str, direction: str, width: int, *, now: bool, past: bool) -> Line:
    """Paint one crossing; those to come are dim."""
    style: StyleName = "muted" if not past else "request" if direction == "request" else "reply"
    mark = "▶ " if now else "  "
    return clip_line(line(Span(mark, "now"), Span(text, "strong" if now else style)), width)
