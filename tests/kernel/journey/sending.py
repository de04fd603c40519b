"""What tests of live journeys share: sending until the draw is the wanted one, and reading the hops."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kplab.model.expression import parse_expression
from kplab.model.journey import Hop, Journey
from kplab.model.packet import PacketSpec, SendSpec
from kplab.session.base import Session
from kplab.trace.journey import tell

OWN = ("10.244.1.10:8080", "10.244.1.11:8080")
OTHER = ("10.244.2.10:8080",)
WEB = "10.96.0.42:80"


def syn(address: str, port: int = 80) -> PacketSpec:
    """A SYN to that address."""
    layer = "IPv6" if ":" in address else "IP"
    return parse_expression(f'{layer}(dst="{address}")/TCP(dport={port},flags="S")')


def anything(journey: Journey) -> bool:
    """Whatever the draw chose."""
    return True


def to(*endpoints: str) -> Callable[[Journey], bool]:
    """Whether DNAT chose one of these endpoints."""
    return lambda journey: any(hop.kind == "DNAT" and hop.after.dst in endpoints for hop in journey.hops)


def trace(lab: Session, spec: SendSpec, sender: str, wanted: Callable[[Journey], bool] = anything) -> Journey:
    """Send until the draw is the wanted one; check what holds for every journey."""
    for _ in range(40):
        recording = lab.send(spec, sender)
        journey = tell(recording)
        if wanted(journey):
            break
    else:
        pytest.fail("the kernel's draw never fell on the wanted endpoint in 40 sends")

    assert (journey.complete, journey.incomplete_because, journey.disagreements) == (True, None, ())
    listed = {tuples(line) for state in recording.nodes for line in state.conntrack_after}
    entries = [hop.conntrack for hop in journey.hops if hop.conntrack and hop.conntrack.change == "new"]
    assert all(tuples(entry.line) in listed for entry in entries)
    return journey


def tuples(line: str) -> tuple[str, ...]:
    """Return what of an entry's line never changes: both directions' addresses, and its id."""
    return tuple(word for word in line.split() if word.startswith(("src=", "dst=", "sport=", "dport=", "id=")))


def kinds(journey: Journey, direction: str = "request") -> list[str]:
    """Return the kinds of hop that change or end something, in order."""
    told = ("DNAT", "SNAT", "reverse NAT", "delivered", "dropped", "rejected")
    return [hop.kind for hop in journey.hops if hop.kind in told and hop.direction == direction]


def one(journey: Journey, kind: str, direction: str = "request") -> Hop:
    """Return the one hop of a kind."""
    (hop,) = [hop for hop in journey.hops if hop.kind == kind and hop.direction == direction]
    return hop


def answered_as(journey: Journey) -> str:
    """Return the source of the answer that the sender got."""
    last = [hop for hop in journey.hops if hop.kind == "delivered" and hop.direction == "reply"][-1]
    assert last.node == journey.sender
    return last.after.src
