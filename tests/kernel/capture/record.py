"""Make the recordings in tests/data/recordings from this machine's kernel.

Run from the project's folder:

    for backend in nft legacy; do
      unshare -Urnmpf --mount-proc PYTHON -m tests.kernel.capture.record $backend [NAME…]
    done

What each holds is said by its case below; all go through the rules of a golden dump, on both nodes.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from kplab.capture.handles import read_generation, read_handles
from kplab.capture.tracing import lab_chains
from kplab.capture.watch import Watch
from kplab.model.expression import parse_expression
from kplab.model.packet import ClientSpec, SendSpec
from kplab.trace.events import ClientDone, KernelEvent, Sent
from kplab.trace.recording import Backend, Facts, NodeState, Recording, Save
from tests.kernel.capture.world import (
    GOLDEN,
    ROOT,
    TOPOLOGY,
    VIP,
    VIP6,
    World,
    load_rules,
    raw_sender,
    run,
    serve,
    settle,
    syn,
    watch_all,
)  # fmt: skip

TARGET = ROOT / "tests" / "data" / "recordings"
NODES = ("node-a", "node-b")


def facts(backend: Backend) -> Facts:
    """Describe the machine."""
    return Facts(
        kplab="0.1.0",
        kernel=os.uname().release,
        mode="iptables",
        backend=backend,
        sandbox="namespaces",
        iptables=run(f"iptables-{backend}", "--version").strip(),
        nft=run("nft", "--version").strip(),
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def node_state(world: World, node: str, backend: Backend) -> NodeState:
    """Read one node."""
    with world.enter(node):
        saves = []
        for family, program in ((4, "iptables"), (6, "ip6tables")):
            lines = run(f"{program}-{backend}-save").splitlines()
            text = "\n".join(line for line in lines if not line.startswith("#")) + "\n"
            saves.append(Save(4 if family == 4 else 6, backend, text))
        links = json.loads(run("ip", "-j", "addr"))
        routes = run("ip", "route").splitlines() + run("ip", "-6", "route").splitlines()
        return NodeState(
            node,
            saves=tuple(saves),
            handles=read_handles(),
            generation=read_generation(),
            addresses=tuple(info["local"] for link in links for info in link["addr_info"]),
            routes=tuple(line.strip() for line in routes),
            conntrack_before=conntrack(),
            lab_chains=lab_chains(),
        )


def conntrack() -> tuple[str, ...]:
    """List the current namespace's entries."""
    return tuple(run("conntrack", "-L", "-o", "extended,id").splitlines())


class Recorder:
    """A world with rules, watched, that is asked one question after the other."""

    def __init__(self, backend: Backend, golden: str, sender: str) -> None:
        self.backend = backend
        self.golden = golden
        self.sender = sender
        self.world = World()
        self.world.build()
        load_rules(self.world, backend, golden)
        if sender not in NODES:
            self._keep_quiet()
        self.servers = {pod: serve(self.world, pod) for pod in ("web-1", "web-2", "web-3")}
        self.watch: Watch = watch_all(self.world, backend)

    def _keep_quiet(self) -> None:
        """Drop RSTs: the sender's kernel knows nothing of a hand-made SYN, and would answer the SYN-ACK with one."""
        with self.world.enter(self.sender):
            run("nft", "-f", "-", stdin="table inet quiet { chain output { type filter hook output priority 0; "
                "tcp sport 40000-40999 tcp flags rst drop; }; }")  # fmt: skip

    def record(self, name: str, spec: SendSpec, act: Act, note: str) -> Recording:
        """Ask one question, and write down everything."""
        for node in NODES:
            with self.world.enter(node):
                run("conntrack", "-F")
        settle(self.watch, 1.0, 10.0)
        states = [node_state(self.world, node, self.backend) for node in NODES]
        self.watch.begin()
        events = [*act(self), *settle(self.watch, 0.3)]
        self.watch.rest()
        finished = []
        for state in states:
            with self.world.enter(state.node):
                finished.append(msgspec.structs.replace(state, conntrack_after=conntrack()))
        recording = Recording(
            facts(self.backend), TOPOLOGY, spec, self.sender, tuple(finished), tuple(events),
            manifest=(GOLDEN / self.golden / "manifest.yaml").read_text(), note=note,
        )  # fmt: skip
        TARGET.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(recording), indent=1)
        (TARGET / f"{name}-{self.backend}.json").write_bytes(text + b"\n")
        return recording

    def own_address(self) -> str:
        """Return the sender's first IPv4 address."""
        space = TOPOLOGY.namespace(self.sender)
        assert space is not None
        return space.addresses()[0]


Act = Callable[[Recorder], list[KernelEvent]]


def hand_over(packet: bytes, target: str) -> Act:
    """Return an act that sends one packet that we made."""

    def act(recorder: Recorder) -> list[KernelEvent]:
        sent = recorder.watch.note(recorder.sender, Sent(packet=packet))
        raw_sender(recorder.world, recorder.sender).sendto(packet, (target, 0))
        return [sent]

    return act


def connect(target: str, port: int) -> Act:
    """Return an act that connects for real, sends a line each way, and closes."""

    def act(recorder: Recorder) -> list[KernelEvent]:
        watch, name = recorder.watch, f"{f'[{target}]' if ':' in target else target}:{port}"
        sent = watch.note(recorder.sender, Sent(note=f"tcp {name}"))
        with recorder.world.enter(recorder.sender):
            client = socket.create_connection((target, port), 2.0)
        local = "{}:{}".format(*client.getsockname())
        client.sendall(b"hello from kplab\n")
        ready = select.select(list(recorder.servers.values()), [], [], 2.0)[0]
        peer, _ = ready[0].accept()
        peer.sendall(peer.recv(100))
        answer = client.recv(100)
        client.close()
        peer.close()
        done = ClientDone(("tcp", name), 0, answer.decode(), "", local)
        return [sent, *watch.drain(), watch.note(recorder.sender, done)]

    return act


def echo(recorder: Recorder) -> list[KernelEvent]:
    """Send a datagram to the Service demo/dns, and have the pod send it back."""
    watch, servers = recorder.watch, []
    for pod in ("web-1", "web-2"):
        with recorder.world.enter(pod):
            server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            server.bind(("", 5353))
            servers.append(server)
    sent = watch.note(recorder.sender, Sent(note="udp 10.96.0.10:53"))
    with recorder.world.enter(recorder.sender):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect(("10.96.0.10", 53))
    client.settimeout(2.0)
    client.send(b"hello from kplab\n")
    heard = select.select(servers, [], [], 2.0)[0][0]
    heard.sendto(*heard.recvfrom(100))
    answer = client.recv(100).decode()
    done = ClientDone(("udp", "10.96.0.10:53"), 0, answer, "", "{}:{}".format(*client.getsockname()))
    return [sent, *watch.drain(), watch.note(recorder.sender, done)]


def until(recorder: Recorder, name: str, endpoint: str, note: str) -> None:
    """Send SYNs to the Service, each from another port, until one went to that endpoint: chance decides."""
    final = TARGET / f"{name}-{recorder.backend}.json"
    for port in range(40001, 40100):
        spec = parse_expression(f'IP(dst="{VIP}")/TCP(sport={port}, dport=80, flags="S")')
        packet = syn(recorder.own_address(), VIP, port, 80)
        recording = recorder.record(name, spec, hand_over(packet, VIP), note)
        if any(f" src={endpoint} " in line.split(f"dst={VIP}")[-1] for line in recording.nodes[0].conntrack_after):
            return
    final.unlink()
    raise SystemExit(f"no SYN went to {endpoint}")


def same_node(backend: Backend) -> None:
    """A SYN whose endpoint is on the client's own node."""
    until(Recorder(backend, "clusterip-3ep", "client"), "same-node", "10.244.1.10", "")


def other_node(backend: Backend) -> None:
    """A SYN whose endpoint is on the other node."""
    until(Recorder(backend, "clusterip-3ep", "client"), "other-node", "10.244.2.10", "")


def hairpin(backend: Backend) -> None:
    """A SYN of a pod that comes back to itself: marked, and masqueraded."""
    until(Recorder(backend, "clusterip-3ep", "web-1"), "hairpin", "10.244.1.10", "the endpoint is the sender")


def client(backend: Backend) -> None:
    """A whole connection."""
    spec = ClientSpec("tcp", f"{VIP}:80")
    Recorder(backend, "clusterip-3ep", "client").record(
        "client", spec, connect(VIP, 80), "a real client's whole exchange"
    )


def refused(backend: Backend) -> None:
    """A SYN to an endpoint whose server does not listen."""
    recorder = Recorder(backend, "clusterip-3ep", "client")
    for server in recorder.servers.values():
        server.close()
    spec = parse_expression(f'IP(dst="{VIP}")/TCP(sport=40900, dport=80, flags="S")')
    act = hand_over(syn(recorder.own_address(), VIP, 40900, 80), VIP)
    recorder.record("refused", spec, act, "the endpoint's server does not listen: RST")


def rejected(backend: Backend) -> None:
    """A SYN to a Service without endpoints."""
    recorder = Recorder(backend, "no-endpoints", "client")
    spec = parse_expression(f'IP(dst="{VIP}")/TCP(sport=40901, dport=80, flags="S")')
    act = hand_over(syn(recorder.own_address(), VIP, 40901, 80), VIP)
    recorder.record("rejected", spec, act, "no endpoints: REJECT, ICMP port unreachable")


def own_process(backend: Backend) -> None:
    """A connection from a node's own process: OUTPUT, and masqueraded."""
    spec = ClientSpec("tcp", f"{VIP}:80")
    recorder = Recorder(backend, "clusterip-3ep", "node-a")
    recorder.record("own-process", spec, connect(VIP, 80), "from the node itself")


def node_port(backend: Backend) -> None:
    """A connection from another machine (node-b's own process) to a NodePort of node-a: masqueraded."""
    spec = ClientSpec("tcp", "192.168.50.10:30080")
    recorder = Recorder(backend, "nodeport", "node-b")
    recorder.record("node-port", spec, connect("192.168.50.10", 30080), "from outside of the pods' network")


def ipv6(backend: Backend) -> None:
    """A whole connection over IPv6."""
    spec = ClientSpec("tcp", f"[{VIP6}]:80")
    Recorder(backend, "dualstack", "client").record("ipv6", spec, connect(VIP6, 80), "over IPv6")


def udp_echo(backend: Backend) -> None:
    """A datagram and its answer."""
    spec = ClientSpec("udp", "10.96.0.10:53")
    Recorder(backend, "udp", "client").record("udp", spec, echo, "a datagram and its answer")


CASES: dict[str, Callable[[Backend], None]] = {
    "same-node": same_node,
    "other-node": other_node,
    "hairpin": hairpin,
    "client": client,
    "refused": refused,
    "rejected": rejected,
    "own-process": own_process,
    "node-port": node_port,
    "ipv6": ipv6,
    "udp": udp_echo,
}


def main(backend: Backend, names: list[str]) -> None:
    """Make the recordings that are named, or all."""
    for name in names or CASES:
        CASES[name](backend)


if __name__ == "__main__":
    main("legacy" if sys.argv[1] == "legacy" else "nft", sys.argv[2:])
