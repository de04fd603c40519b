"""One sentence of what the sender got, read off the journey's hops and the client's own word."""

from __future__ import annotations

from kplab.model.journey import Hop
from kplab.model.packet import Headers
from kplab.trace.correlate import Packet
from kplab.trace.events import ClientDone
from kplab.trace.explain import a, what_is
from kplab.trace.identity import is_error
from kplab.trace.story import Story, flow_of
from kplab.trace.tell_ebpf import known_as


def outcome_of(story: Story, hops: list[Hop]) -> str:
    """Return the sentence."""
    client = _client(story)
    if not story.packets:
        return client or (
            hops[-1].text if len(hops) > 1 else "nothing was seen of the packet on any link or in any trace."
        )
    answers = [p for p in story.packets if p.direction == "reply" and _arrived(story, p, hops)]
    # A node that asks its own kube-proxy in userspace mode gets the answers of that one's connection as well.
    asked = story.asked
    own = [p for p in answers if asked is not None and flow_of(p.path.last).dst == asked.src]
    answer = next(iter(own or answers), None)
    told = _answered(story, answer) if answer else _unanswered(story, hops)
    return f"{told} {client}" if client else told


def _arrived(story: Story, packet: Packet, hops: list[Hop]) -> bool:
    return any(
        hop.kind == "delivered" and hop.packet == packet.number and hop.node == story.recording.sender for hop in hops
    )


def _answered(story: Story, answer: Packet) -> str:
    sender, last, first = story.recording.sender, answer.path.last, answer.path.first
    flow = flow_of(last)
    if is_error(last):
        said = f"{a(what_is(last))} from {last.src}, made by {answer.path.origin}"
        if _is_refusal(last):
            return f"{sender} was refused: it got {said}, and connect() fails with ECONNREFUSED."
        return f"{sender} got no answer but {said}."
    if last.flags is not None and "R" in last.flags:
        return f"{sender} was refused: {answer.path.origin} answered with RST, seen as from {flow.src}."
    asked = story.asked
    if asked is not None and flow.src != asked.dst and last.icmp_type is None:
        return (
            f"{sender} got {a(what_is(last))} from {flow.src}, and not from {asked.dst}, which it asked: nobody turned "
            "the source back, so its kernel does not know this connection, and refuses it."
        )
    really = f", though {answer.path.origin} ({flow_of(first).src}) answered" if flow.src != flow_of(first).src else ""
    asked_for = known_as(story)
    if asked_for:
        really = f", whom its program knows as {asked_for}"
    return f"{sender} got {a(what_is(last))} from {flow.src}{really}."


def _is_refusal(headers: Headers) -> bool:
    """Whether a TCP or UDP socket makes ECONNREFUSED of it: ICMP port unreachable, ICMPv6 port unreachable."""
    return (headers.proto, headers.icmp_type, headers.icmp_code) in (("icmp", 3, 3), ("icmpv6", 1, 4))


def _unanswered(story: Story, hops: list[Hop]) -> str:
    sender = story.recording.sender
    ends = [hop for hop in hops if hop.packet == 1 and hop.kind in ("dropped", "rejected")]
    if ends:
        return f"{sender} got no answer: {ends[-1].text}"
    lost = [hop for hop in hops if hop.direction == "reply" and hop.kind in ("dropped", "rejected")]
    if lost:
        return f"{sender} got no answer: there was one, but it was {lost[0].text}"
    arrived = next((hop for hop in hops if hop.packet == 1 and hop.kind == "delivered"), None)
    if arrived is not None:
        return f"{sender} got no answer, though {arrived.node} received the packet."
    return f"{sender} got no answer, and what became of the packet is not known."


def _client(story: Story) -> str:
    """Return how a real client ended."""
    done = next((e.what for e in story.recording.events if isinstance(e.what, ClientDone)), None)
    if done is None:
        return ""
    name = done.argv[0].rpartition("/")[2] if done.argv else "the client"
    said = (done.stdout if done.status == 0 else done.stderr).strip().splitlines()
    line = f": {said[-1 if done.status else 0][:200]}" if said else "."
    return f"{name} ended with status {done.status}{line}"
