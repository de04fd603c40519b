"""Userspace mode's own part of a story: the packet ends at kube-proxy, and another connection begins there.

kube-proxy reports each connection that it took (`Proxied`): who came, on which of its ports, and the connection that
it opened in turn. Two connections, two conntrack entries; what ties them together is a process, and no rule.
"""

from __future__ import annotations

from collections.abc import Iterable

from kplab.model.journey import Flow, Hop
from kplab.trace.correlate import Packet
from kplab.trace.events import KernelEvent, Proxied
from kplab.trace.explain import a, what_is
from kplab.trace.identity import ends_of
from kplab.trace.proxied import accepts, dialled_ends, parts
from kplab.trace.recording import Recording
from kplab.trace.story import Story, flow_of


def proxied_events(recording: Recording) -> list[tuple[KernelEvent, Proxied]]:
    """Return what kube-proxy said of its connections."""
    return [(event, event.what) for event in recording.events if isinstance(event.what, Proxied)]


def at_kube_proxy(story: Story, packet: Packet, node: str) -> str | None:
    """Return the sentence of a packet that came to a port of kube-proxy's own on a node; None for any other."""
    if story.recording.facts.mode != "userspace":
        return None
    last = packet.path.last
    what = what_is(last)
    for event, proxied in proxied_events(story.recording):
        if event.node != node:
            continue
        if packet.direction == "reply" and (last.dst, last.dport) == parts(proxied.dialled_from):
            return (
                f"delivered to kube-proxy itself (process {proxied.pid}) on {node}: it gets the {what} of its own "
                f"connection to {proxied.dialled_to}, and copies what bytes there are into the one from "
                f"{proxied.accepted_from}."
            )
        if packet.direction == "request" and accepts(proxied, ends_of(last)):
            return _taken(node, what, last.flags, proxied.pid, flow_of(last))
    pid = next((pid for state in story.recording.nodes if state.node == node for name, pid in state.processes), None)
    if pid is None or packet.direction == "reply" or not _redirected(packet, node):
        return None
    return _taken(node, what, last.flags, pid, flow_of(last))


def _taken(node: str, what: str, flags: str | None, pid: int, flow: Flow) -> str:
    start = f"delivered to a port of kube-proxy itself (process {pid}) on {node}, {flow.dst}"
    if flags is not None and "S" in flags:
        return (
            f"{start}: the kernel answers {a(what)} for its listening socket; the process is woken only when the "
            "handshake is done."
        )
    return f"{start}: the connection ends here, and what bytes there are wait for that process."


def _redirected(packet: Packet, node: str) -> bool:
    """Whether its destination was rewritten on that node, and it went up to INPUT there."""
    lives = [life for life in packet.path.lives if life.node == node]
    if not lives or lives[-1].hooks()[-1] != "INPUT":
        return False
    return packet.path.first.dst != packet.path.last.dst or packet.path.first.dport != packet.path.last.dport


def proxy_hops(story: Story, packet: Packet) -> list[Hop]:
    """Return the hops by which kube-proxy made this packet's connection: none unless it is that one's first packet."""
    if packet.direction != "request":
        return []
    found = _dialling(story, packet)
    if found is None:
        return []
    event, proxied = found
    before = Flow(proxied.accepted_from, proxied.accepted_on, proxied.protocol.lower())
    after = Flow(proxied.dialled_from, proxied.dialled_to, proxied.protocol.lower())
    taken = "accepts the connection" if proxied.protocol == "TCP" else "reads the datagram"
    text = (
        f"kube-proxy (process {proxied.pid}) {taken} from {proxied.accepted_from} for {proxied.service}, chooses "
        f"{proxied.dialled_to} in its own memory, and opens a connection of its own to it from {proxied.dialled_from}. "
        "From here on it copies bytes between the two; no packet goes through."
    )
    return [
        Hop(
            n=0, node=event.node, kind="proxy", direction="request", packet=packet.number, before=before, after=after,
            evidence="seen", text=text, stamp=event.stamp, events=(event.n,), service=proxied.service,
        )
    ]  # fmt: skip


def _dialling(story: Story, packet: Packet) -> tuple[KernelEvent, Proxied] | None:
    """Return the report of the connection whose very first packet this is."""
    for event, proxied in proxied_events(story.recording):
        if event.node == packet.path.origin and _opens(packet, proxied):
            earlier: Iterable[Packet] = story.packets[: packet.number - 1]
            if not any(_opens(other, proxied) for other in earlier):
                return event, proxied
    return None


def _opens(packet: Packet, proxied: Proxied) -> bool:
    return ends_of(packet.path.first) == dialled_ends(proxied)
