"""Frames of all namespaces, joined into the paths of packets."""

from __future__ import annotations

from itertools import count

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from kplab.model.topology import End, Link, Namespace, Topology
from kplab.trace.events import FrameSeen, KernelEvent
from kplab.trace.paths import Path, find_paths

pytestmark = pytest.mark.unit

TOPOLOGY = Topology(
    namespaces=(
        Namespace("client", "pod", node="node-a"),
        Namespace("web", "pod", node="node-b"),
        Namespace("node-a", "node"),
        Namespace("node-b", "node"),
        Namespace("outside", "outside"),
        Namespace("underlay", "underlay"),
    ),
    links=(
        Link(End("node-a", "veth-client"), End("client", "eth0")),
        Link(End("node-b", "veth-web"), End("web", "eth0")),
        Link(End("node-a", "eth0"), End("underlay", "port-a")),
        Link(End("node-b", "eth0"), End("underlay", "port-b")),
        Link(End("outside", "eth0"), End("underlay", "port-o")),
    ),
)
_numbers = count(1)
WAY = ("client:eth0>", ">node-a:veth-client", "node-a:eth0>", ">underlay:port-a", "underlay:port-b>", ">node-b:eth0",
       "node-b:veth-web>", ">web:eth0")  # fmt: skip


def syn(ttl: int, dst: str = "10.96.0.42") -> bytes:
    """A SYN with a TTL, as it is at some point of its way."""
    return bytes(IP(src="10.244.1.5", dst=dst, ttl=ttl, id=1) / TCP(sport=40000, dport=80, flags="S", seq=5))


def frame(where: str, packet: bytes, stamp: int | None = None) -> KernelEvent:
    """A frame: "client:eth0>" leaves the client, ">node-a:eth0" comes into node-a."""
    n = next(_numbers)
    namespace, interface = where.strip(">").split(":")
    what = FrameSeen(interface, "out" if where.endswith(">") else "in", packet)
    return KernelEvent(n, n if stamp is None else stamp, namespace, what)


def whole_way() -> list[KernelEvent]:
    """A SYN from the client to the web pod on the other node; node-a's DNAT changes its destination."""
    ttls = (64, 64, 63, 63, 63, 63, 62, 62)
    return [
        frame(where, syn(ttl, "10.96.0.42" if place < 2 else "10.244.2.10"))
        for place, (where, ttl) in enumerate(zip(WAY, ttls, strict=True))
    ]


def places(path: Path) -> list[str]:
    """Return the namespaces that a path leads through."""
    return [path.origin, *(crossing.end.namespace for crossing in path.crossings)]


def test_one_packet_across_nat_two_nodes_and_the_bridge() -> None:
    """Both sightings of a link are one crossing, and crossings follow each other."""
    (path,) = find_paths(TOPOLOGY, whole_way(), [])

    assert places(path) == ["client", "node-a", "underlay", "node-b", "web"]
    assert all(crossing.out and crossing.into for crossing in path.crossings)


def test_frames_seen_at_one_end_only_are_enough() -> None:
    """Where only one end of each link is watched, the topology gives the other."""
    (path,) = find_paths(TOPOLOGY, [e for e in whole_way() if e.what.direction == "in"], [])  # type: ignore[union-attr]

    assert places(path) == ["client", "node-a", "underlay", "node-b", "web"]


def test_a_retransmission_is_a_packet_of_its_own() -> None:
    """Equal to the bit, sent again by the same pod: two packets, each with its whole way."""
    paths = find_paths(TOPOLOGY, whole_way() + whole_way(), [])

    assert [places(path)[-1] for path in paths] == ["web", "web"]


def test_a_retransmission_after_a_loss() -> None:
    """The first copy ended in node-a; what came further belongs to the second."""
    paths = find_paths(TOPOLOGY, whole_way()[:2] + whole_way(), [])

    assert [places(path)[-1] for path in paths] == ["node-a", "web"]


def test_an_echo_with_the_same_bytes_is_the_answer() -> None:
    """A UDP echo may share IP id, length and payload with its question; it begins where the question ended."""

    def datagram(src: str, dst: str, ttl: int) -> bytes:
        return bytes(IP(src=src, dst=dst, ttl=ttl, id=0) / UDP(sport=5, dport=5) / Raw(b"hello"))

    way = [("client:eth0>", 64), (">node-a:veth-client", 64)]
    back = [("node-a:veth-client>", 63), (">client:eth0", 63)]
    there = [frame(where, datagram("10.244.1.5", "10.244.1.1", ttl)) for where, ttl in way]
    answer = [frame("node-a:veth-client>", datagram("10.244.1.1", "10.244.1.5", 64)),
              frame(">client:eth0", datagram("10.244.1.1", "10.244.1.5", 64))]  # fmt: skip
    bounced = [frame(where, datagram("10.244.1.5", "10.244.1.1", ttl)) for where, ttl in back]

    assert [places(p) for p in find_paths(TOPOLOGY, there + answer, [])] == [["client", "node-a"], ["node-a", "client"]]
    assert [places(p) for p in find_paths(TOPOLOGY, there + bounced, [])] == [["client", "node-a", "client"]]


def test_a_flooded_frame_is_followed_where_it_came_furthest() -> None:
    """A bridge that has not learnt an address sends copies to every port; only one of them is wanted."""
    events = whole_way()
    copies = [frame("underlay:port-o>", syn(63, "10.244.2.10"), 5), frame(">outside:eth0", syn(63, "10.244.2.10"), 5)]
    events = [KernelEvent(e.n, place + 1, e.node, e.what) for place, e in enumerate(events)]
    early = [KernelEvent(e.n, 4, e.node, e.what) for e in copies]

    for flood in (copies, early):
        (path,) = find_paths(TOPOLOGY, events + flood, [])
        assert places(path)[-1] == "web"


def test_bytes_that_are_no_packet_are_passed_over() -> None:
    """ARP and rubbish make no path."""
    assert find_paths(TOPOLOGY, [frame("client:eth0>", b"\0\x01rubbish")], []) == []


def test_a_flood_of_equal_packets_is_told_apart_in_reasonable_time() -> None:
    """Datagrams without an IP id may be equal by the thousand; only the latest can still be under way."""
    events = [KernelEvent(n, n, e.node, e.what) for n, e in enumerate(whole_way() * 500)]

    assert [places(path)[-1] for path in find_paths(TOPOLOGY, events, [])] == ["web"] * 500
