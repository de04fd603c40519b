"""One packet -> its hops, from the namespace that made it to the one where it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kplab.model.journey import Flow, Hop, Kind
from kplab.trace import explain
from kplab.trace.correlate import Packet, sent_event
from kplab.trace.events import KernelEvent, Sent, Served
from kplab.trace.identity import is_error
from kplab.trace.lives import Life
from kplab.trace.paths import Crossing
from kplab.trace.place import Place
from kplab.trace.story import Story, flow_of
from kplab.trace.tell_ebpf import back_at_the_socket, is_tracked
from kplab.trace.tell_life import LifeTeller
from kplab.trace.tell_userspace import at_kube_proxy


@dataclass(slots=True)
class PacketTeller:
    """Tells one packet; made for each anew."""

    story: Story
    packet: Packet

    def tell(self) -> list[Hop]:
        """Return the hops."""
        hops = [self._opening()]
        steps = self.packet.path.steps
        for index, step in enumerate(steps):
            onward = steps[index + 1] if index + 1 < len(steps) else None
            if isinstance(step, Life) and index and isinstance(steps[index - 1], Life):
                hops.append(self._loopback(step))
            if isinstance(step, Crossing):
                hops.append(self._link(step))
                if not isinstance(onward, Life) and self._is_traced(step.end.namespace):
                    self.story.gaps.append(
                        f"{step.end.namespace} took the packet in, and its trace does not tell of it"
                    )
                continue
            teller = LifeTeller(self._place(step), onward if isinstance(onward, Crossing) else None)
            hops += teller.tell()
            if teller.ended:
                return hops
        return hops + self._ending(hops)

    def _is_traced(self, namespace: str) -> bool:
        return any(state.lab_chains for state in self.story.recording.nodes if state.node == namespace)

    def _place(self, life: Life) -> Place:
        assumed = "related" if is_error(self.packet.path.first) else "new" if self.packet.number == 1 else "established"
        if not is_tracked(self.story, life.node):
            assumed = "untracked"
        elif life.node in self.story.states_told and life.is_shown_tracked:
            # Where the kernel says a packet's state, it says none of one whom conntrack refused to take in
            # (net/netfilter/nf_tables_trace.c).
            assumed = "invalid"
        return Place(self.story, life, self.packet.number, self.packet.direction, assumed)

    def _opening(self) -> Hop:
        path, first = self.packet.path, self.packet.path.first
        flow = flow_of(first)
        asked = self.story.asked
        if is_error(first):
            quoted = path.quoted
            text = explain.complained(path.origin, first, flow, flow_of(quoted) if quoted else None)
            return self._make(
                "reply" if self.packet.direction == "reply" else "sent", path.origin, flow, text, path.event
            )
        if self.packet.direction == "reply":
            text = explain.replied(path.origin, first, flow, asked)
            return self._make("reply", path.origin, flow, text, path.event)
        event = sent_event(self.story.recording) if self.packet.number == 1 else None
        by_lab = event is not None and isinstance(event.what, Sent) and bool(event.what.packet)
        text = explain.sent(path.origin, first, flow, by_lab=by_lab)
        return self._make("sent", path.origin, flow, text, event or path.event)

    def _link(self, step: Crossing) -> Hop:
        flow = flow_of(step.headers)
        if step.start == step.end:
            text = explain.looped(step.start.namespace)
        else:
            text = explain.linked(
                (step.start.namespace, step.start.interface), (step.end.namespace, step.end.interface)
            )
        return self._make(
            "link",
            step.start.namespace,
            flow,
            text,
            step.events[0],
            interface=step.start.interface,
            peer=step.end.namespace,
            stamp=step.stamp,
            events=tuple(event.n for event in step.events),
        )

    def _loopback(self, life: Life) -> Hop:
        """The loopback interface carries it from POSTROUTING to PREROUTING of the same node."""
        event = life.visits[0].events[0]
        flow = flow_of(life.visits[0].headers)
        return self._make("link", life.node, flow, explain.looped(life.node), event, interface="lo", peer=life.node)

    def _ending(self, hops: list[Hop]) -> list[Hop]:
        """Say what became of the packet where no rule ended it."""
        path = self.packet.path
        last, node = path.steps[-1], path.terminal
        flow = flow_of(path.last, hops[-1].after.mark if isinstance(last, Life) else 0)
        if isinstance(last, Life):
            hook = last.hooks()[-1]
            if hook == "INPUT":
                return [self._delivered(node, flow)]
            if hook == "POSTROUTING":
                return [self._make("dropped", node, flow, explain.unanswered_neighbour(node, last.oif), None)]
            return []
        if self.story.owns(node, path.last.dst):
            return [self._delivered(node, flow)]
        if self._is_traced(node):
            return []
        complaint = self.story.complaint(node, self.packet.number, self.packet.direction)
        if complaint is not None:
            text = explain.given_up(node, path.last.dst, explain.what_is(complaint.path.first))
            return [self._make("rejected", node, flow, text, complaint.path.event)]
        return [self._make("dropped", node, flow, explain.nobodys(node, path.last.dst), None)]

    def _delivered(self, node: str, flow: Flow) -> Hop:
        asked = self.story.asked
        back = self.packet.direction == "reply" and node == self.story.recording.sender
        served = None if back else self._served(node, flow)
        known = at_kube_proxy(self.story, self.packet, node) or back_at_the_socket(self.story, self.packet, node)
        text = known or explain.delivered(
            node,
            self.packet.path.last,
            flow,
            served=served.what.peer if served and isinstance(served.what, Served) else None,
            asked=asked if back else None,
        )
        last = self.packet.path.steps[-1]
        event = last.visits[-1].events[-1] if isinstance(last, Life) else last.events[-1]
        events = (event.n, served.n) if served else (event.n,)
        return self._make("delivered", node, flow, text, event, events=events)

    def _served(self, node: str, flow: Flow) -> KernelEvent | None:
        """Return the server's own word on the packet, if it is the one that the server speaks of."""
        for event in self.story.recording.events:
            what = event.what
            if isinstance(what, Served) and event.node == node and what.peer == flow.src:
                return event
        return None

    def _make(self, kind: Kind, node: str, flow: Flow, text: str, event: KernelEvent | None, **fields: Any) -> Hop:
        fields.setdefault("stamp", event.stamp if event else None)
        fields.setdefault("events", (event.n,) if event else ())
        return Hop(
            n=0,
            node=node,
            kind=kind,
            direction=self.packet.direction,
            packet=self.packet.number,
            before=flow,
            after=flow,
            evidence="seen" if event else "modelled",
            text=text,
            **fields,
        )
