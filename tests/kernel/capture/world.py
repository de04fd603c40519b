"""A small world for the tests of capture: two nodes with pods, a bridge between them, and kube-proxy's rules.

Used by programs that run inside private namespaces (`play`, `record`), never by a test's own process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from kplab.capture import tracing
from kplab.capture.netlink import attribute, open_socket, request
from kplab.capture.watch import ROOM, Place, Watch
from kplab.model.topology import End, Interface, Link, Listener, Namespace, Route, Topology
from kplab.trace.events import KernelEvent
from kplab.trace.recording import Backend

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "data" / "golden"
CLONE_NEWNET = 0x40000000
VIP, VIP6 = "10.96.0.20", "fd00:10:96::20"

_FORWARDING = (
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
)


def run(*argv: str, stdin: str = "") -> str:
    """Run a program and return what it printed."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr}")
    return done.stdout


def _pod(name: str, node: str, n: int, last: int) -> Namespace:
    addresses = (f"10.244.{n}.{last}/32", f"fd00:10:244:{n}::{last}/128")
    routes = (
        Route(f"10.244.{n}.1/32", "eth0"),
        Route("0.0.0.0/0", "eth0", via=f"10.244.{n}.1"),
        Route(f"fd00:10:244:{n}::1/128", "eth0"),
        Route("::/0", "eth0", via=f"fd00:10:244:{n}::1"),
    )
    listeners = () if name == "client" else (Listener("TCP", 8080, "http"),)
    return Namespace(name, "pod", node, f"demo/{name}", (Interface("eth0", addresses),), routes, listeners)


def _node(name: str, n: int, pods: tuple[tuple[str, int], ...]) -> Namespace:
    other = 3 - n
    interfaces = [Interface("eth0", (f"192.168.50.{9 + n}/24", f"fd00:192:168:50::{9 + n}/64"))]
    routes = [
        Route(f"10.244.{other}.0/24", "eth0", via=f"192.168.50.{9 + other}"),
        Route(f"fd00:10:244:{other}::/64", "eth0", via=f"fd00:192:168:50::{9 + other}"),
        Route("0.0.0.0/0", "eth0", via="192.168.50.1"),
        Route("::/0", "eth0", via="fd00:192:168:50::1"),
    ]
    for pod, last in pods:
        interfaces.append(Interface(f"veth-{pod}", (f"10.244.{n}.1/32", f"fd00:10:244:{n}::1/128")))
        routes += [
            Route(f"10.244.{n}.{last}/32", f"veth-{pod}"),
            Route(f"fd00:10:244:{n}::{last}/128", f"veth-{pod}"),
        ]
    return Namespace(name, "node", None, None, tuple(interfaces), tuple(routes), (), _FORWARDING)


PODS_A = (("client", 5), ("web-1", 10), ("web-3", 11))
PODS_B = (("web-2", 10),)

TOPOLOGY = Topology(
    namespaces=(
        Namespace("underlay", "underlay", interfaces=tuple(Interface(i) for i in ("br0", "to-node-a", "to-node-b"))),
        _node("node-a", 1, PODS_A),
        _node("node-b", 2, PODS_B),
        *(_pod(name, "node-a", 1, last) for name, last in PODS_A),
        *(_pod(name, "node-b", 2, last) for name, last in PODS_B),
    ),
    links=(
        *(Link(End(node, "eth0"), End("underlay", f"to-{node}")) for node in ("node-a", "node-b")),
        *(Link(End(name, "eth0"), End("node-a", f"veth-{name}")) for name, _ in PODS_A),
        *(Link(End(name, "eth0"), End("node-b", f"veth-{name}")) for name, _ in PODS_B),
    ),
)


class World:
    """The namespaces, as descriptors."""

    def __init__(self) -> None:
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.spaces: dict[str, int] = {}
        self._libc = ctypes.CDLL(None, use_errno=True)

    def _setns(self, descriptor: int) -> None:
        if self._libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def make(self, name: str) -> None:
        """Make a network namespace."""
        if self._libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        self.spaces[name] = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._setns(self.home)

    @contextlib.contextmanager
    def enter(self, name: str) -> Iterator[None]:
        """Be in that namespace for a while."""
        self._setns(self.spaces[name])
        try:
            yield
        finally:
            self._setns(self.home)

    def place(self, name: str) -> Place:
        """Return it as something to watch."""
        space = TOPOLOGY.namespace(name)
        assert space is not None
        interfaces = tuple(i.name for i in space.interfaces if i.name != "br0")
        return Place(name, space.role, lambda: self.enter(name), interfaces)

    def build(self) -> None:
        """Make all namespaces, links, addresses and routes."""
        for space in TOPOLOGY.namespaces:
            self.make(space.name)
        for n, link in enumerate(TOPOLOGY.links):
            run("ip", "link", "add", f"a{n}", "type", "veth", "peer", "name", f"b{n}")
            for end, made in ((link.a, f"a{n}"), (link.b, f"b{n}")):
                target = f"/proc/{os.getpid()}/fd/{self.spaces[end.namespace]}"
                run("ip", "link", "set", made, "netns", target, "name", end.interface)
        for space in TOPOLOGY.namespaces:
            with self.enter(space.name):
                self._configure(space)

    def _configure(self, space: Namespace) -> None:
        for key, value in space.sysctls:
            Path("/proc/sys", *key.split(".")).write_text(value)
        for device in ("all", *(i.name for i in space.interfaces if i.name != "br0")):
            # A redirect of a packet that goes out where it came in would only be one packet more.
            Path(f"/proc/sys/net/ipv4/conf/{device}/send_redirects").write_text("0")
        lines = ["link set lo up"]
        if space.role == "underlay":
            lines += ["link add br0 type bridge", "link set br0 up"]
        for interface in space.interfaces:
            if space.role == "underlay" and interface.name != "br0":
                lines.append(f"link set {interface.name} master br0")
            Path(f"/proc/sys/net/ipv6/conf/{interface.name}/accept_dad").write_text(
                "0"
            ) if interface.name != "br0" else 0
            lines.append(f"link set {interface.name} up")
            lines += [f"addr add {a} dev {interface.name}{' nodad' * (':' in a)}" for a in interface.addresses]
        for route in space.routes:
            via = f" via {route.via}" if route.via else ""
            lines.append(f"route add {route.destination}{via} dev {route.device}")
        run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")


def make_nfacct(name: str) -> None:
    """Make the counter that kube-proxy's rules name (NFNL_MSG_ACCT_NEW of NFNL_SUBSYS_ACCT)."""
    with open_socket() as sock:
        sock.send(request(7 << 8, 0x400 | 0x200, 0, attribute(1, name.encode() + b"\0")))


def load_rules(world: World, backend: Backend, scenario: str) -> None:
    """Load kube-proxy's rules of a golden dump into both nodes, and our tracing."""
    for node in ("node-a", "node-b"):
        with world.enter(node):
            for counter in ("ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"):
                make_nfacct(counter)
            for family in ("iptables", "ip6tables"):
                dump = (GOLDEN / scenario / f"iptables-{backend}.{family}-save").read_text()
                run(f"{family}-{backend}-restore", stdin=dump)
            run("nft", "-f", "-", stdin=tracing.tracing_ruleset("node", backend))


def watch_all(world: World, backend: Backend, room: int = ROOM) -> Watch:
    """Open a watch over every place."""
    watch = Watch([world.place(space.name) for space in TOPOLOGY.namespaces], backend, time.time_ns, room)
    watch.open()
    return watch


def settle(watch: Watch, quiet: float = 0.2, limit: float = 5.0) -> list[KernelEvent]:
    """Collect events until none has come for `quiet` seconds."""
    events: list[KernelEvent] = []
    end = time.monotonic() + limit
    while time.monotonic() < end and select.select(watch.filenos(), [], [], quiet)[0]:
        events += watch.drain()
    return events + watch.drain()


def serve(world: World, name: str) -> socket.socket:
    """Return a socket that listens on port 8080 of a pod, both families: the kernel does the handshake."""
    with world.enter(name):
        return socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True)


def syn(source: str, target: str, sport: int, dport: int) -> bytes:
    """Return an IPv4 SYN with right checksums."""
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    tcp = struct.pack("!HHIIBBHHH", sport, dport, 1000, 0, 5 << 4, 2, 8192, 0, 0)
    tcp = tcp[:16] + _checksum(addresses + struct.pack("!BBH", 0, 6, len(tcp)) + tcp) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + addresses
    return ip[:10] + _checksum(ip) + ip[12:] + tcp


def udp(source: str, target: str, sport: int, dport: int, payload: bytes = b"") -> bytes:
    """Return an IPv4 UDP datagram without a UDP checksum."""
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    datagram = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 1, 0, 64, 17, 0) + addresses
    return ip[:10] + _checksum(ip) + ip[12:] + datagram


def _checksum(data: bytes) -> bytes:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def raw_sender(world: World, name: str) -> socket.socket:
    """Return a socket that sends whole IPv4 packets from a namespace."""
    with world.enter(name):
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
