"""What the kernel's traces say of packets through kube-proxy's rules."""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING

import pytest

from kplab.capture.tracing import HOOKS
from kplab.model.packet import Headers
from kplab.model.wire import read_headers
from kplab.trace.events import LegacyTrace, NftTrace

if TYPE_CHECKING:
    from tests.kernel.capture.conftest import Answer, Answers

pytestmark = pytest.mark.kernel

SERVICE = "10.96.0.20"
ENDPOINTS = ("10.244.1.10", "10.244.2.10")
IPS_SRC_NAT, IPS_DST_NAT = 1 << 4, 1 << 5


def first_packet(traces: list[NftTrace]) -> list[NftTrace]:
    """Return the messages of the first packet: up to where a packet enters the node again."""
    entries = [n for n, t in enumerate(traces) if t.packet and t.chain in ("prerouting-first", "output-first")]
    return traces[entries[0] : entries[1] if len(entries) > 1 else None]


def headers_at(traces: list[NftTrace], chain: str) -> Headers:
    """Return the headers that one of our chains showed."""
    return read_headers(next(t.packet for t in traces if t.chain == chain))


def need_conntrack_in_trace() -> None:
    """Skip on a kernel whose trace says nothing of conntrack (NFTA_TRACE_CT_* came with Linux 6.16)."""
    version = tuple(int(part) for part in platform.release().split(".")[:2])
    if version < (6, 16):
        pytest.skip(f"Linux {platform.release()} has no conntrack in its trace; 6.16 has")


def steps(traces: list[NftTrace], family: str = "ip") -> list[str]:
    """Return the way through iptables-nft's chains: "nat PREROUTING rule jump"."""
    return [f"{t.table} {t.chain} {t.kind} {t.verdict.split()[0]}" for t in traces if t.family == family]


def test_a_packet_is_followed_from_raw_to_its_dnat(nft_answers: Answers) -> None:
    """The first packet passes raw, mangle and nat PREROUTING, and goes down the Service's chains to a DNAT rule."""
    seen = steps(first_packet(nft_answers["service"].traces()))
    assert seen[:4] == [
        "raw PREROUTING return continue", "raw PREROUTING policy accept",
        "mangle PREROUTING return continue", "mangle PREROUTING policy accept",
    ]  # fmt: skip
    assert [re.sub(r"KUBE-(\w+)-\w+", r"KUBE-\1", step) for step in seen[4:8]] == [
        "nat PREROUTING rule jump", "nat KUBE-SERVICES rule jump", "nat KUBE-SVC rule jump", "nat KUBE-SEP rule accept",
    ]  # fmt: skip


def test_legacy_numbers_name_the_same_way(legacy_answers: Answers) -> None:
    """iptables-legacy logs to NFLOG because nft set nf_trace: rules by number, in order, from raw to the DNAT."""
    traces = legacy_answers["service"].legacy()
    seen = [(t.table, re.sub(r"KUBE-(\w+)-\w+", r"KUBE-\1", t.chain), t.kind) for t in traces[:6]]
    assert seen == [
        ("raw", "PREROUTING", "policy"), ("mangle", "PREROUTING", "policy"), ("nat", "PREROUTING", "rule"),
        ("nat", "KUBE-SERVICES", "rule"), ("nat", "KUBE-SVC", "rule"), ("nat", "KUBE-SEP", "rule"),
    ]  # fmt: skip
    # raw holds one rule, so its policy has number 2; KUBE-SVC chose its second or third rule, KUBE-SEP its second.
    assert (traces[0].number, traces[3].number, traces[5].number) == (2, 1, 2)
    assert traces[4].number in (2, 3)
    assert all(t.hook == "PREROUTING" and t.iif == "veth-client" and t.oif is None for t in traces[:6])


def test_legacy_shows_the_packet_as_it_was_before_each_rule(legacy_answers: Answers) -> None:
    """At the DNAT rule the destination is still the Service; at FORWARD it is the endpoint."""
    traces = legacy_answers["service"].legacy()
    assert read_headers(traces[5].packet).dst == SERVICE
    forward = next(t for t in traces if t.hook == "FORWARD")
    assert read_headers(forward.packet).dst in ENDPOINTS
    assert forward.oif is not None


def test_nat_is_seen_as_headers_before_and_after(answers: Answers) -> None:
    """Our first and last chain of PREROUTING show the Service's address, then the endpoint's; the reply is undone."""
    traces = answers["service"].traces()
    packet = first_packet(traces)
    assert (headers_at(packet, "prerouting-first").dst, headers_at(packet, "prerouting-first").dport) == (SERVICE, 80)
    assert headers_at(packet, "prerouting-last").dst in ENDPOINTS
    assert headers_at(packet, "prerouting-last").dport == 8080
    reply = first_packet(traces[len(packet) :])
    assert headers_at(reply, "postrouting-first").src in ENDPOINTS
    assert headers_at(reply, "postrouting-last").src == SERVICE


def test_each_hook_is_seen_once_on_entry_and_once_on_leaving(answers: Answers) -> None:
    """A forwarded packet passes six of our chains in their order, each with the packet's headers."""
    ours = [t for t in first_packet(answers["service"].traces()) if t.table == "kplab-trace"]
    hooks = ("prerouting", "forward", "postrouting")
    assert set(hooks) < set(HOOKS)
    assert [t.chain for t in ours] == [f"{hook}-{end}" for hook in hooks for end in ("first", "last")]
    assert all(t.packet for t in ours)


def test_later_packets_do_not_enter_nat(answers: Answers) -> None:
    """Only the first packet of a connection is shown to the nat table."""
    answer = answers["service"]
    tables = [t.table for t in [*answer.traces()[len(first_packet(answer.traces())) :]]]
    assert "mangle" in tables or answer.legacy()
    assert "nat" not in tables
    replies = [t for t in answer.legacy() if read_headers(t.packet).src in ENDPOINTS]
    assert "nat" not in [t.table for t in replies]


def test_the_traces_entry_is_the_one_that_conntrack_lists(answers: Answers) -> None:
    """The id in the trace is the id of conntrack -L, and of the event that told of the new entry."""
    need_conntrack_in_trace()
    answer = answers["service"]
    traced = {t.ct_id for t in answer.traces() if t.ct_id is not None}
    listed = {int(number) for number in re.findall(r"id=(\d+)", answer.extra["conntrack"])}
    assert len(traced) == 1
    assert traced <= listed
    assert traced == {change.id for change in answer.conntrack()}


def test_conntrack_tells_of_the_new_entry_with_both_tuples(answers: Answers) -> None:
    """NEW comes first; its reply tuple is what will undo the DNAT."""
    new = answers["service"].conntrack()[0]
    assert (new.change, new.state) == ("new", "SYN_SENT")
    assert (new.original.src, new.original.dst, new.original.dport) == ("10.244.1.5", SERVICE, 80)
    assert new.reply.src in ENDPOINTS
    assert (new.reply.dst, new.reply.sport, new.reply.dport) == ("10.244.1.5", 8080, 40001)
    assert new.status & IPS_DST_NAT


def test_conntracks_state_and_direction_are_in_the_trace(answers: Answers) -> None:
    """The first packet is new and original, the SYN-ACK established and reply."""
    need_conntrack_in_trace()
    shown = [(t.ct_state, t.ct_direction) for t in answers["service"].traces() if t.ct_state]
    assert shown[0] == ("new", "original")
    assert ("established", "reply") in shown


def test_ipv6_is_followed_too(answers: Answers) -> None:
    """Over IPv6 the chains are ip6's, and the DNAT is to an IPv6 endpoint."""
    answer = answers["service6"]
    packet = first_packet(answer.traces())
    assert headers_at(packet, "prerouting-first").dst == "fd00:10:96::20"
    assert headers_at(packet, "prerouting-last").dst in ("fd00:10:244:1::10", "fd00:10:244:2::10")
    chains: list[NftTrace | LegacyTrace] = [*packet, *answer.legacy()]
    assert any(t.family == "ip6" and t.chain.startswith("KUBE-SEP-") for t in chains)
    assert answer.conntrack()[0].original.dst == "fd00:10:96::20"


def test_the_nodes_own_packets_start_in_output(answers: Answers) -> None:
    """A connection from the node itself is traced from OUTPUT on, masqueraded, and its reply in INPUT."""
    answer = answers["own_process"]
    packet = first_packet(answer.traces())
    assert packet[0].chain == "output-first"
    assert packet[0].oif is not None
    before, after = headers_at(packet, "postrouting-first"), headers_at(packet, "postrouting-last")
    assert before.dst == after.dst != SERVICE
    assert before.sport != after.sport or before.src != after.src
    assert any(t.chain == "input-last" and read_headers(t.packet).src == SERVICE for t in answer.traces() if t.packet)
    assert answer.conntrack()[0].status & (IPS_SRC_NAT | IPS_DST_NAT) == IPS_SRC_NAT | IPS_DST_NAT


def test_the_mark_is_seen(answers: Answers) -> None:
    """KUBE-MARK-MASQ's mark is on the packet in OUTPUT, and gone at POSTROUTING's end."""
    packet = first_packet(answers["own_process"].traces())
    marks = {t.chain: t.mark for t in packet if t.table == "kplab-trace"}
    assert marks == {"output-first": 0, "output-last": 0x4000, "postrouting-first": 0x4000, "postrouting-last": 0}


def test_a_dropped_packet_ends_at_the_rule_that_dropped_it(answers: Answers) -> None:
    """Nothing comes after the rule in raw: no chain, no frame beyond the node, no conntrack entry."""
    answer = answers["dropped"]
    assert answer.conntrack() == []
    assert {event.node for event, _ in answer.frames()} == {"client", "node-a"}
    if answer.legacy():
        last = answer.legacy()[-1]
        assert (last.table, last.chain, last.kind, last.number) == ("raw", "PREROUTING", "rule", 1)
        assert len(answer.traces()) == 1
    else:
        nft = answer.traces()[-1]
        assert (nft.table, nft.chain, nft.kind, nft.verdict) == ("raw", "PREROUTING", "rule", "drop")


def test_frames_are_seen_on_each_link_in_both_directions(answers: Answers) -> None:
    """The SYN leaves the client before it reaches the node, to the Service; the reply comes back from it."""
    frames = answers["service"].frames()
    client = [(frame.direction, read_headers(frame.packet)) for event, frame in frames if event.node == "client"]
    assert [(way, headers.flags) for way, headers in client] == [("out", "S"), ("in", "SA"), ("out", "R")]
    assert client[0][1].dst == client[1][1].src == SERVICE
    seen = [(event.node, frame.interface, frame.direction) for event, frame in frames]
    assert seen[:2] == [("client", "eth0", "out"), ("node-a", "veth-client", "in")]
    crossings = {(node, interface) for node, interface, _ in seen}
    for node, interface in crossings:
        ways = {way for where, name, way in seen if (where, name) == (node, interface)}
        assert ways == {"in", "out"}, f"{interface} of {node}"


def test_a_frame_has_the_bytes_that_were_sent(answers: Answers) -> None:
    """Ethernet is taken off; what follows is the packet that was handed to the kernel."""
    answer = answers["service"]
    event, frame = answer.frames()[0]
    assert event.node == "client"
    assert frame.packet == bytes.fromhex(answer.extra["packet"])
    assert re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", frame.source_mac)


def test_events_are_numbered_from_one_without_a_gap(answers: Answers) -> None:
    """Each question starts at 1, and every event has its own number."""
    events: list[Answer] = [answers[name] for name in ("service", "service6", "own_process", "dropped")]
    for answer in events:
        assert [event.n for event in answer.events] == list(range(1, len(answer.events) + 1))
