"""A packet that nobody saw after it was handed to its sender's kernel -> what can be said of it all the same."""

from __future__ import annotations

from kplab.model.journey import Hop, Kind
from kplab.trace import explain
from kplab.trace.correlate import sent_event
from kplab.trace.events import Sent
from kplab.trace.identity import read
from kplab.trace.recording import Recording
from kplab.trace.story import Story, flow_of


def refusal(recording: Recording) -> str:
    """Return the error with which the sender's kernel refused the packet; "" if it took it."""
    event = sent_event(recording)
    return event.what.error if event is not None and isinstance(event.what, Sent) else ""


def tell_unseen(story: Story) -> list[Hop]:
    """Return the hop of the sending and, where it is known, the one of the end. A client's calls tell nothing here."""
    event = sent_event(story.recording)
    headers = read(event.what.packet) if event is not None and isinstance(event.what, Sent) else None
    if event is None or headers is None:
        return []
    node, flow = event.node, flow_of(headers)

    def hop(kind: Kind, text: str, *, seen: bool) -> Hop:
        return Hop(
            n=0,
            node=node,
            kind=kind,
            direction="request",
            before=flow,
            after=flow,
            evidence="seen" if seen else "modelled",
            text=text,
            stamp=event.stamp,
            events=(event.n,),
        )

    hops = [hop("sent", explain.sent(node, headers, flow, by_lab=True), seen=True)]
    error = refusal(story.recording)
    if error:
        hops.append(hop("dropped", explain.refused_by_kernel(node, error), seen=True))
    elif story.owns(node, headers.dst):
        hops.append(hop("delivered", explain.kept_inside(node, headers.dst), seen=False))
    return hops
