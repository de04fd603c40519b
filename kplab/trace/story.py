"""What the tellers share: the recording, its packets, and what is known of the nodes they cross."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from kplab.model.journey import Direction, Flow
from kplab.model.nft import NftRuleset
from kplab.model.packet import Headers
from kplab.model.topology import Namespace
from kplab.trace.correlate import Packet, find_packets
from kplab.trace.ct_changes import Change, Passing, assign_changes
from kplab.trace.entries import Entries, Entry, find_entries, flow_of_ends
from kplab.trace.events import CtChange, NftTrace
from kplab.trace.identity import Ends, ends_of, is_error, turned
from kplab.trace.lives import Life, Visit
from kplab.trace.match_state import NodeView
from kplab.trace.recording import Backend, NodeState, Recording
from kplab.trace.rulesets import Family, NodeRules, nft_of, rules_of, view_of


@dataclass(slots=True)
class Story:
    """One recording, taken apart."""

    recording: Recording
    packets: list[Packet]
    states: dict[str, NodeState]
    entries: dict[str, Entries]
    changes: dict[int, list[Change]] = field(default_factory=dict)
    """By identity of a life: the conntrack events that the packet caused then."""
    gaps: list[str] = field(default_factory=list)
    """Why the story is incomplete, as sentences without a full stop."""
    _rules: dict[tuple[str, Family, Backend], NodeRules | None] = field(default_factory=dict)
    _views: dict[str, NodeView] = field(default_factory=dict)
    _states_told: frozenset[str] | None = None

    @property
    def asked(self) -> Flow | None:
        """The ends that the first packet's sender wrote on it."""
        return flow_of(self.packets[0].path.first) if self.packets else None

    @property
    def states_told(self) -> frozenset[str]:
        """The nodes whose kernel says a packet's conntrack state in its trace; before 6.16 none does."""
        if self._states_told is None:
            events = self.recording.events
            told = (e.node for e in events if isinstance(e.what, NftTrace) and e.what.ct_state is not None)
            self._states_told = frozenset(told)
        return self._states_told

    def namespace(self, name: str) -> Namespace | None:
        """Return a namespace of the topology, or None."""
        return self.recording.topology.namespace(name)

    def owns(self, node: str, address: str) -> bool:
        """Say whether an address is one of a namespace's own, loopback and local prefixes included."""
        namespace, state = self.namespace(node), self.states.get(node)
        own = set(namespace.addresses() if namespace else ()) | set(state.addresses if state else ())
        local = [route.destination for route in namespace.routes if route.table == "local"] if namespace else []
        number = ip_address(address)
        return number.is_loopback or address in own or any(number in ip_network(prefix) for prefix in local)

    def rules(self, node: str, family: Family, backend: Backend) -> NodeRules | None:
        """Return a node's rules, or None when nobody read them."""
        key = (node, family, backend)
        if key not in self._rules:
            state = self.states.get(node)
            self._rules[key] = rules_of(state, family, backend) if state else None
        return self._rules[key]

    def nft(self, node: str) -> NftRuleset | None:
        """Return a node's tables of nf_tables' own, or None."""
        state = self.states.get(node)
        return nft_of(state) if state else None

    def view(self, node: str) -> NodeView:
        """Return what rules ask about a node."""
        if node not in self._views:
            state = self.states.get(node)
            self._views[node] = view_of(state) if state else NodeView()
        return self._views[node]

    def complaint(self, node: str, number: int, direction: Direction) -> Packet | None:
        """Return the ICMP error that a node made of a packet, if it did."""
        for packet in self.packets:
            later = packet.number > number and packet.direction != direction
            if later and packet.path.origin == node and is_error(packet.path.first):
                return packet
        return None

    def entry_of(self, node: str, life: Life) -> Entry | None:
        """Return the conntrack entry that the life's packet belongs to in that node, or None."""
        found = _entry(self.entries.get(node), life)
        return found[0] if found else None


def read_story(recording: Recording) -> Story:
    """Take the recording apart."""
    packets = find_packets(recording)
    states = {state.node: state for state in recording.nodes}
    nodes = {event.node for event in recording.events if isinstance(event.what, CtChange)} | set(states)
    entries = {}
    for node in sorted(nodes):
        state = states.get(node)
        before, after = (state.conntrack_before, state.conntrack_after) if state else ((), ())
        entries[node] = find_entries(node, recording.events, before, after)
    story = Story(recording, packets, states, entries)
    story.changes = assign_changes(_passings(packets, entries))
    return story


def _passings(packets: Iterable[Packet], entries: dict[str, Entries]) -> list[Passing]:
    found = []
    for packet in packets:
        for life in packet.path.lives:
            belonging = _entry(entries.get(life.node), life)
            if (
                belonging is not None
                and not is_error(packet.path.first)
                and life.hooks()[-1] in ("INPUT", "POSTROUTING")
            ):
                found.append(Passing(id(life), belonging[0], belonging[1], packet.path.first))
    return found


def _entry(entries: Entries | None, life: Life) -> tuple[Entry, Direction] | None:
    if entries is None:
        return None
    traces = [
        e.what for v in life.visits for e in v.events if isinstance(e.what, NftTrace) and e.what.ct_id is not None
    ]
    if traces:
        entry = entries.by_id.get(traces[0].ct_id or 0)
        if entry is not None:
            return entry, "reply" if traces[0].ct_direction == "reply" else "request"
    # Without the entry's id in the trace (kernels before 6.16) the packet's own ends find it.
    for visit in life.visits:
        found = entries.find(entry_ends(visit.headers))
        if found is not None:
            return found
    return None


def entry_ends(headers: Headers) -> Ends:
    """Return the ends by which conntrack finds a packet's entry; an ICMP error belongs to what it quotes."""
    return ends_of(headers) if headers.inner is None else turned(ends_of(headers.inner))


def flow_of(headers: Headers, mark: int = 0) -> Flow:
    """Return a packet's ends as a hop shows them."""
    return flow_of_ends(ends_of(headers), mark)


@dataclass(frozen=True, slots=True)
class CtSaid:
    """What the trace said of conntrack at one visit."""

    state: str | None = None
    status: int | None = None


def ct_at(life: Life, visit: Visit, assumed: str | None) -> CtSaid:
    """Return the packet's conntrack state at a visit: from its own message, else from one near it.

    iptables-legacy's TRACE says nothing of it, but the lab's own chains at the same hooks do; where nothing does
    (kernels before 6.16), `assumed` is what the packet's place in its connection makes of it.
    """
    own = _ct(visit)
    if own.state is not None:
        return own
    place = next(i for i, each in enumerate(life.visits) if each is visit)
    earlier = [said for each in life.visits[:place] if (said := _ct(each)).state is not None]
    later = [said for each in life.visits[place:] if (said := _ct(each)).state is not None]
    if earlier:
        return earlier[-1]
    # Before the first message that knows the entry, NAT has set no bit of its status yet.
    return CtSaid(later[0].state, None if later[0].state != "new" else 0) if later else CtSaid(assumed)


def _ct(visit: Visit) -> CtSaid:
    for event in visit.events:
        if isinstance(event.what, NftTrace) and event.what.ct_state is not None:
            # The status comes with its bits only; a state without a status has none of them set.
            return CtSaid(event.what.ct_state, event.what.ct_status or 0)
    return CtSaid()
