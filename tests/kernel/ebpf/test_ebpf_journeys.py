"""Socket calls in a real lab: what the programs report, what is on the wire, and what the pods saw."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter

import pytest

from kplab.model.expression import parse_expression
from kplab.model.journey import Hop, Journey
from kplab.model.loader import parse_cluster
from kplab.model.packet import ClientSpec
from kplab.model.wire import read_headers
from kplab.modes.ebpf import compile_ebpf
from kplab.session.live import LiveSession
from kplab.trace.events import CtChange, FrameSeen, Served, SocketCall
from kplab.trace.journey import tell
from kplab.trace.recording import Recording

pytestmark = pytest.mark.kernel

VIP = "10.96.0.42"


def curl(lab: LiveSession, target: str, sender: str = "client") -> tuple[Recording, Journey]:
    """Run curl, and tell its journey."""
    recording = lab.send(ClientSpec(client="curl", target=target), sender)
    return recording, tell(recording)


def calls(recording: Recording, name: str) -> list[SocketCall]:
    """Return the reports of one call."""
    return [e.what for e in recording.events if isinstance(e.what, SocketCall) and e.what.call == name]


def run_python(lab: LiveSession, namespace: str, text: str) -> list[str]:
    """Run a Python program in a namespace, and return what it printed."""
    done = lab.execute(namespace, ("python3", "-c", text))
    assert done.status == 0, done.stderr
    return done.stdout.splitlines()


def test_a_connection_is_told_in_the_order_in_which_it_happened(lab: LiveSession) -> None:
    """The call, three lookups, the address written; then a packet to the backend; then getpeername()."""
    recording, journey = curl(lab, f"http://{VIP}/")
    first = list(itertools.takewhile(lambda hop: hop.kind in ("socket", "lookup"), journey.hops))
    assert [hop.kind for hop in first] == ["socket", "lookup", "lookup", "lookup", "socket"]
    assert [hop.lookup.map for hop in first if hop.lookup] == [
        "cilium_lb4_services_v2", "cilium_lb4_services_v2", "cilium_lb4_backends_v3",
    ]  # fmt: skip
    assert {hop.evidence for hop in first} == {"seen"}
    written = first[-1]
    served = next(e for e in recording.events if isinstance(e.what, Served))
    assert isinstance(served.what, Served)
    assert (written.before.dst, written.after.dst) == (f"{VIP}:80", served.what.local)
    assert journey.hops[len(first)].kind == "sent"
    assert journey.hops[len(first)].after.dst == served.what.local
    asked = [hop for hop in journey.hops if hop.hook == "cgroup/getpeername4" and hop.kind == "socket"]
    assert [(hop.before.dst, hop.after.dst) for hop in asked] == [(served.what.local, f"{VIP}:80")]
    assert asked[0].n > next(hop.n for hop in journey.hops if hop.direction == "reply")
    assert journey.complete
    assert not journey.disagreements


def test_no_packet_carries_the_clusterip(lab: LiveSession) -> None:
    """No frame has it, no rule is tried, and conntrack is not even at work: no rule asks for it."""
    recording, journey = curl(lab, f"http://{VIP}/", "node-b")
    frames = [read_headers(e.what.packet) for e in recording.events if isinstance(e.what, FrameSeen)
              and e.what.protocol == 0x0800]  # fmt: skip
    assert frames
    assert not [each for each in frames if VIP in (each.src, each.dst)]
    kinds = {hop.kind for hop in journey.hops}
    assert not kinds & {"DNAT", "SNAT", "reverse NAT", "rule", "chain"}
    assert not [e for e in recording.events if isinstance(e.what, CtChange)]
    assert [node.conntrack_after for node in recording.nodes] == [(), ()]
    assert not [hop for hop in journey.hops if "conntrack already holds" in hop.text]


def test_lookups_hold_what_bpftool_reads_from_the_maps(lab: LiveSession) -> None:
    """The element that answered stands in the node's own dump, and the count is the dump's."""
    recording, journey = curl(lab, f"http://{VIP}/")
    state = next(state for state in recording.nodes if state.node == "node-a")
    dump = lab.execute("node-a", ("bpftool", "map", "dump", "pinned", "/run/kplab/bpf/node-a/cilium_lb4_services_v2"))
    lookups = [hop.lookup for hop in journey.hops if hop.lookup and hop.lookup.map == "cilium_lb4_services_v2"]
    assert f"Found {lookups[0].elements} elements" in dump.stdout
    assert "key: 0a 60 00 2a 00 50 00 00  06 00 00 00" in dump.stdout
    assert "0x0a" in dict(state.bpf_maps)["cilium_lb4_backends_v3"]
    assert lookups[0].key == f"address {VIP}, dport 80, backend_slot 0, proto TCP"
    assert lookups[0].element is not None
    assert lookups[0].element.startswith("count 3, rev_nat_index ")


@pytest.mark.parametrize("node", ["node-a", "node-b"])
def test_the_kernel_holds_line_for_line_what_is_compiled(lab: LiveSession, node: str) -> None:
    """`kplab rules --mode ebpf` prints, but for the words behind #, what bpftool prints of the node's own maps."""
    program = compile_ebpf(parse_cluster(lab.status().manifest, "manifest"), node)
    compiled = sorted(line.partition("  #")[0] for line in program.text().splitlines() if line.startswith("key: "))
    held = []
    for each in program.maps:
        done = lab.execute(node, ("bpftool", "map", "dump", "pinned", f"/run/kplab/bpf/{node}/{each.name}"))
        held += [line.rstrip() for line in done.stdout.splitlines() if line.startswith("key: ")]
    assert sorted(held) == compiled


def test_a_nodeport_is_found_under_the_wildcard(lab: LiveSession) -> None:
    """From a pod, another node's address misses, 0.0.0.0 hits, and the backend is connected with directly."""
    recording, journey = curl(lab, "http://192.168.50.11:30080/")
    keys = [(hop.lookup.key, hop.lookup.element is not None) for hop in journey.hops if hop.lookup][:2]
    assert keys == [
        ("address 192.168.50.11, dport 30080, backend_slot 0, proto TCP", False),
        ("address 0.0.0.0, dport 30080, backend_slot 0, proto TCP", True),
    ]
    assert calls(recording, "connect")[0].answered.endswith(":8080")


def test_a_made_packet_goes_out_as_it_is_and_the_journey_says_why(lab: LiveSession) -> None:
    """Scapy's packet is no socket call: nobody translates it, and nobody answers."""
    journey = tell(lab.send(parse_expression(f'IP(dst="{VIP}")/TCP(dport=80, flags="S")'), "client"))
    hop = journey.hops[0]
    assert (hop.kind, hop.evidence) == ("socket", "rebuilt")
    assert "raw socket" in hop.text
    assert {hop.after.dst for hop in journey.hops if hop.packet == 1} == {f"{VIP}:80"}
    assert "no answer" in journey.outcome


def test_a_nodeport_from_outside_is_left_out_and_the_journey_says_so(lab: LiveSession) -> None:
    """No program of a node sees a socket outside; the packet is refused by the node itself."""
    recording, journey = curl(lab, "http://192.168.50.11:30080/", "outside")
    assert not calls(recording, "connect")
    assert "tc or XDP" in journey.hops[0].text
    assert "refused" in journey.outcome


def test_ipv6_is_left_out_and_the_journey_says_so(lab: LiveSession) -> None:
    """No program is attached to connect6: the packet leaves with the ClusterIP in it, and nobody answers there."""
    recording, journey = curl(lab, "http://[fd00:10:96::42]/", "client")
    assert not calls(recording, "connect")
    first = journey.hops[0]
    assert (first.kind, first.after.dst) == ("socket", "[fd00:10:96::42]:80")
    assert "no program is attached to connect6" in first.text
    attached = json.loads(lab.execute("node-a", ("bpftool", "-j", "link", "show")).stdout)
    kinds = {each["attach_type"] for each in attached if "cgroup_id" in each}
    assert {"cgroup_inet4_connect", "cgroup_udp4_sendmsg"} <= kinds
    assert not {kind for kind in kinds if "inet6" in kind or "udp6" in kind}


def test_a_service_without_backends_is_left_as_it_is(lab: LiveSession) -> None:
    """The lookup finds a count of 0; the call goes on with the ClusterIP."""
    recording, journey = curl(lab, "http://10.96.0.66/")
    call = calls(recording, "connect")[0]
    assert call.asked == call.answered == "10.96.0.66:80"
    hops: list[Hop] = [hop for hop in journey.hops if hop.kind == "lookup"]
    assert "without any backend" in hops[0].text


UNCONNECTED = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
for _ in range(3):
    s.sendto(b"x", ("10.96.0.77", 7))
    print("%s:%d" % s.recvfrom(100)[1])
"""


def test_an_unconnected_udp_socket_gets_answers_from_the_address_that_it_asked(lab: LiveSession) -> None:
    """sendmsg4 translates each datagram, and recvmsg4 says the Service's address again."""
    assert run_python(lab, "client", UNCONNECTED) == ["10.96.0.77:7"] * 3


CONNECTIONS = """
import socket
for _ in range({count}):
    s = socket.create_connection(({host!r}, 80), 3)
    s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    text = b""
    while data := s.recv(4096):
        text += data
    print([line for line in text.decode().splitlines() if line.startswith("pod:")][0])
    s.close()
"""


def test_three_hundred_connections_are_spread_evenly(lab: LiveSession) -> None:
    """By the pods' own count: chi-square with 2 degrees of freedom below 13.8 (one in a thousand is above)."""
    pods = Counter(run_python(lab, "client", CONNECTIONS.format(count=300, host=VIP)))
    assert set(pods) == {"pod: web-1", "pod: web-2", "pod: web-3"}
    assert sum((number - 100) ** 2 / 100 for number in pods.values()) < 13.8


def test_clientip_affinity_holds_for_a_network_namespace(lab: LiveSession) -> None:
    """All of a pod's connections go to one backend, and the map says which."""
    pods = set(run_python(lab, "client", CONNECTIONS.format(count=40, host="10.96.0.55")))
    assert len(pods) == 1
    _, journey = curl(lab, "http://10.96.0.55/")
    affinity = [hop for hop in journey.hops if hop.lookup and hop.lookup.map == "cilium_lb4_affinity"]
    assert affinity[0].lookup is not None
    assert affinity[0].lookup.element is not None


def test_maps_follow_the_manifest_and_ids_stay(lab: LiveSession) -> None:
    """An endpoint that goes leaves the maps; those that stay keep their ids; connections follow at once."""
    before = lab.status().manifest
    dump = ("bpftool", "map", "dump", "pinned", "/run/kplab/bpf/node-a/cilium_lb4_backends_v3")
    old = set(re.findall(r"key: .*", lab.execute("node-a", dump).stdout))
    try:
        lab.apply(re.sub(r"(?s)- addresses: \[10\.244\.2\.10\]\n.*?name: web-3\}\n", "", before))
        new = set(re.findall(r"key: .*", lab.execute("node-a", dump).stdout))
        assert len(old - new) == 1
        assert not new - old
        pods = set(run_python(lab, "client", CONNECTIONS.format(count=30, host=VIP)))
        assert pods == {"pod: web-1", "pod: web-2"}
    finally:
        lab.apply(before)
    assert set(re.findall(r"key: .*", lab.execute("node-a", dump).stdout)) == old


def test_kube_proxys_end_changes_nothing_for_traffic(lab: LiveSession) -> None:
    """The process that writes the maps is not in the data path: without it, connections go on."""
    pids = [process.pid for process in lab.status().processes if process.name == "kube-proxy node-a"]
    lab.execute("node-a", ("kill", "-KILL", str(pids[0])))
    _, journey = curl(lab, f"http://{VIP}/")
    assert "status 0" in journey.outcome
