"""Socket calls -> hops, told between the packets that they came between."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from kplab.errors import UsageError
from kplab.model import bpf_maps as layout
from kplab.model.journey import Flow, Hop, Kind, Lookup
from kplab.model.loader import parse_cluster
from kplab.model.packet import ClientSpec
from kplab.trace import explain, explain_ebpf
from kplab.trace.correlate import Packet, target_of
from kplab.trace.events import CtChange, KernelEvent
from kplab.trace.identity import is_error
from kplab.trace.socket_calls import FORWARD, Call, calls_of
from kplab.trace.story import Story, flow_of


def calls_before(story: Story, packet: Packet) -> list[Hop]:
    """Return the hops of the client's socket calls that came before a packet, and after the one before it."""
    if packet.number == 1:
        return [*_tell(story, _placed(story).get(1, []), packet), *_unasked(story)]
    return _tell(story, _placed(story).get(packet.number, []), packet)


def calls_at_end(story: Story) -> list[Hop]:
    """Return the hops of those after the last packet (all, when no packet was seen)."""
    return _tell(story, _placed(story).get(0, []), story.packets[-1] if story.packets else None)


def known_as(story: Story) -> str:
    """Return the address that the client's program asked for, if its socket was connected with another; else ""."""
    spec = story.recording.spec
    if not isinstance(spec, ClientSpec):
        return ""
    calls = [call for _, call in calls_of(story.recording, *target_of(spec)) if call.call in FORWARD]
    return next((call.asked for call in calls if call.asked != call.answered), "")


def back_at_the_socket(story: Story, packet: Packet, node: str) -> str:
    """Return the sentence for an answer that reaches a socket whose address was translated; "" for any other."""
    asked = known_as(story)
    if not asked or packet.direction != "reply" or node != story.recording.sender or is_error(packet.path.last):
        return ""
    return explain_ebpf.answered(node, explain.what_is(packet.path.last), flow_of(packet.path.last).src, asked)


def is_tracked(story: Story, node: str) -> bool:
    """Tell whether conntrack may follow packets in a node: in eBPF mode no rule asks for it, so the kernel does not.

    (nf_ct_netns_get() registers conntrack's hooks with the first rule that needs them.)
    """
    if story.recording.facts.mode != "ebpf":
        return True
    state = story.states.get(node)
    listed = state is not None and bool(state.conntrack_before or state.conntrack_after or state.nft)
    ruled = state is not None and any(save.text for save in state.saves)
    return listed or ruled or any(isinstance(e.what, CtChange) and e.node == node for e in story.recording.events)


def _placed(story: Story) -> dict[int, list[Call]]:
    """Return the calls by the number of the packet that they are told before; 0 is after all.

    A call that names an address comes before the first packet that it made; one that asks for an address comes after
    the first answer, whatever the clocks of two sources say.
    """
    spec = story.recording.spec
    if not isinstance(spec, ClientSpec):
        return {}
    answered = next((packet.number for packet in story.packets if packet.direction == "reply"), 0)
    placed: dict[int, list[Call]] = {}
    for at, pair in enumerate(calls_of(story.recording, *target_of(spec))):
        forward = pair[1].call in FORWARD
        after = 0 if forward else answered
        number = next((p.number for p in story.packets if p.number > after and p.path.event.stamp > pair[0].stamp), 0)
        if at == 0 and forward and story.packets:
            number = 1
        placed.setdefault(number, []).append(pair)
    return placed


def _tell(story: Story, calls: list[Call], beside: Packet | None) -> list[Hop]:
    hops: list[Hop] = []
    waiting = list(calls)
    while waiting:
        event, call = waiting.pop(0)
        events = [event]
        while waiting and _same(waiting[0], (event, call)):
            events.append(waiting.pop(0)[0])
        teller = _CallTeller(story, events, (event, call), beside)
        hops += teller.forward() if call.call in FORWARD else teller.backward()
    return hops


def _same(one: Call, other: Call) -> bool:
    a, b = one[1], other[1]
    return a.call not in FORWARD and (a.call, a.cookie, a.answered) == (b.call, b.cookie, b.answered)


class _CallTeller:
    """Tells one call."""

    def __init__(self, story: Story, events: list[KernelEvent], pair: Call, beside: Packet | None) -> None:
        self._story = story
        self._beside = beside
        self._events = events
        self._event, self._call = pair
        self._source = story.asked.src if story.asked else next(iter(_own(story)), "")

    def forward(self) -> list[Hop]:
        """The call, each lookup, and what became of the address."""
        call = self._call
        asked, answered = self._flow(call.asked), self._flow(call.answered)
        text = explain_ebpf.called(call, _balancer(self._story))
        hops = [self._hop("socket", asked, asked, text), *self._lookups(asked)]
        if call.asked == call.answered:
            return [*hops, self._hop("socket", asked, asked, explain_ebpf.untouched(call))]
        return [*hops, self._hop("socket", asked, answered, explain_ebpf.translated(call))]

    def backward(self) -> list[Hop]:
        """The lookups, and what the program is told."""
        call = self._call
        before, after = self._flow(call.asked), self._flow(call.answered)
        text = explain_ebpf.asked_for(call, len(self._events))
        return [*self._lookups(before), self._hop("socket", before, after, text)]

    def _lookups(self, flow: Flow) -> list[Hop]:
        found = []
        for at, (name, key, value) in enumerate(self._call.lookups):
            elements = _elements(self._story, name)
            lookup = Lookup(name, key, value or None, elements)
            text = explain_ebpf.looked_up(self._call, at, elements)
            found.append(self._hop("lookup", flow, flow, text, lookup=lookup))
        return found

    def _flow(self, end: str) -> Flow:
        return Flow(src=self._source, dst=end, proto=self._call.protocol.lower())

    def _hop(self, kind: Kind, before: Flow, after: Flow, text: str, **fields: Any) -> Hop:
        fields["hook"] = f"cgroup/{self._call.call}4"
        return Hop(
            n=0,
            node=self._event.node,
            kind=kind,
            direction=self._beside.direction if self._beside else "request",
            packet=self._beside.number if self._beside else 1,
            before=before,
            after=after,
            evidence="seen",
            text=text,
            stamp=self._event.stamp,
            events=tuple(event.n for event in self._events),
            **fields,
        )


def _unasked(story: Story) -> list[Hop]:
    """In eBPF mode: say why a packet to a Service's address went past every program, if it did."""
    recording = story.recording
    asked = story.asked
    if recording.facts.mode != "ebpf" or asked is None:
        return []
    if is_service_v6(recording.manifest, asked):
        return [_nobodys(story, explain_ebpf.in_ipv6(asked.dst))]
    if not _is_frontend(story, asked):
        return []
    outside = _balancer(story) == ""
    if isinstance(recording.spec, ClientSpec) and not outside:
        return []
    text = explain_ebpf.from_outside(recording.sender, asked.dst) if outside else explain_ebpf.made_packet(asked.dst)
    return [_nobodys(story, text)]


def _nobodys(story: Story, text: str) -> Hop:
    """Return the hop of a packet that no program translated, though it is for a Service."""
    flow = flow_of(story.packets[0].path.first)
    return Hop(
        n=0, node=story.recording.sender, kind="socket", direction="request", before=flow, after=flow,
        evidence="rebuilt", text=text,
    )  # fmt: skip


def _is_frontend(story: Story, asked: Flow) -> bool:
    """Whether an address stands in the services map of the sender's node (of any node, for one outside)."""
    host, _, port = asked.dst.rpartition(":")
    if ":" in host or not port.isdigit() or asked.proto.upper() not in layout.NUMBERS:
        return False
    wanted = layout.ServiceKey(host, int(port), asked.proto.upper()).pack()
    own = _balancer(story)
    states = [state for state in story.recording.nodes if own in ("", state.node)]
    return any(_key(entry) == wanted for state in states for entry in _entries(state.bpf_maps, layout.SERVICES))


@lru_cache(maxsize=16)
def is_service_v6(manifest: str, asked: Flow) -> bool:
    """Tell whether a flow is for a Service's port on one of its IPv6 addresses, by the cluster's YAML."""
    host, _, port = asked.dst.rpartition(":")
    host = host.strip("[]")
    if ":" not in host or not port.isdigit() or not manifest:
        return False
    try:
        services = parse_cluster(manifest, "the recording's manifest").services
    except UsageError:
        return False
    wanted = (int(port), asked.proto.upper())
    return any(
        host in (*each.cluster_ips, *each.external_ips, *(ingress.ip for ingress in each.load_balancer_ingress))
        and wanted in {(one.port, one.protocol) for one in each.ports}
        for each in services
    )


def _balancer(story: Story) -> str:
    """The node whose programs the sender's sockets meet; "" for a sender that belongs to none."""
    sender = story.namespace(story.recording.sender)
    if sender is None:
        return ""
    return sender.name if sender.role == "node" else sender.node or ""


def _own(story: Story) -> tuple[str, ...]:
    sender = story.namespace(story.recording.sender)
    return sender.addresses() if sender else ()


def _elements(story: Story, name: str) -> int:
    state = story.states.get(_balancer(story))
    return len(_entries(state.bpf_maps, name)) if state else 0


def _entries(maps: tuple[tuple[str, str], ...], name: str) -> list[dict[str, list[str]]]:
    """Return a map's elements as `bpftool -j map dump` has them: {"key": ["0x0a", …], "value": […]}."""
    text = dict(maps).get(name, "")
    return list(json.loads(text)) if text else []


def _key(entry: dict[str, list[str]]) -> bytes:
    return bytes(int(each, 16) for each in entry["key"])
