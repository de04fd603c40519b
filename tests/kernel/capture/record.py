"""Make the recordings in tests/data/recordings from this machine's kernel.

Run from the project's folder:

    for backend in nft legacy; do
      unshare -Urnmpf --mount-proc PYTHON -m tests.kernel.capture.record $backend
    done

Each is one SYN of the client on node-a to the Service demo/web of the golden scenario clusterip-3ep, and what came of
it: `same-node` went to an endpoint on node-a, `other-node` to node-b, `refused` was sent after the endpoint's server
was gone, `client` is a whole exchange by a real client.
"""

from __future__ import annotations

import json
import os
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
    World,
    load_rules,
    raw_sender,
    run,
    serve,
    settle,
    syn,
    watch_all,
)  # fmt: skip

SCENARIO = "clusterip-3ep"
TARGET = ROOT / "tests" / "data" / "recordings"


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

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.world = World()
        self.world.build()
        load_rules(self.world, backend, SCENARIO)
        with self.world.enter("client"):
            # The client's kernel knows nothing of a hand-made SYN, and would answer the SYN-ACK with RST.
            run("nft", "-f", "-", stdin="table inet quiet { chain output { type filter hook output priority 0; "
                "tcp sport 40000-40999 tcp flags rst drop; }; }")  # fmt: skip
        self.servers = {pod: serve(self.world, pod) for pod in ("web-1", "web-2", "web-3")}
        self.watch: Watch = watch_all(self.world, backend)

    def record(self, name: str, spec: SendSpec, act: Callable[[Watch], list[KernelEvent]], note: str) -> Recording:
        """Ask one question, and write down everything."""
        for node in ("node-a", "node-b"):
            with self.world.enter(node):
                run("conntrack", "-F")
        settle(self.watch, 1.0, 10.0)
        states = [node_state(self.world, node, self.backend) for node in ("node-a", "node-b")]
        self.watch.begin()
        events = [*act(self.watch), *settle(self.watch, 0.3)]
        finished = []
        for state in states:
            with self.world.enter(state.node):
                finished.append(msgspec.structs.replace(state, conntrack_after=conntrack()))
        recording = Recording(
            facts(self.backend), TOPOLOGY, spec, "client", tuple(finished), tuple(events),
            manifest=(GOLDEN / SCENARIO / "manifest.yaml").read_text(), note=note,
        )  # fmt: skip
        TARGET.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(recording), indent=1)
        (TARGET / f"{name}-{self.backend}.json").write_bytes(text + b"\n")
        return recording

    def send(self, port: int) -> Callable[[Watch], list[KernelEvent]]:
        """Return an act that sends one SYN."""
        packet = syn("10.244.1.5", VIP, port, 80)

        def act(watch: Watch) -> list[KernelEvent]:
            sent = watch.note("client", Sent(packet=packet))
            raw_sender(self.world, "client").sendto(packet, (VIP, 0))
            return [sent]

        return act

    def fetch(self, watch: Watch) -> list[KernelEvent]:
        """Connect for real, exchange a line each way, and close."""
        sent = watch.note("client", Sent(note="tcp 10.96.0.20:80"))
        with self.world.enter("client"):
            client = socket.create_connection((VIP, 80), 2.0)
        local = "{}:{}".format(*client.getsockname())
        client.sendall(b"hello from kplab\n")
        for server in self.servers.values():
            server.settimeout(0.2)
            try:
                peer, _ = server.accept()
            except TimeoutError:
                continue
            peer.sendall(peer.recv(100))
            answer = client.recv(100)
            client.close()
            peer.close()
        done = ClientDone(("tcp", f"{VIP}:80"), 0, answer.decode(), "", local)
        return [sent, *watch.drain(), watch.note("client", done)]


def main(backend: Backend) -> None:
    """Make all recordings of one back-end."""
    recorder = Recorder(backend)
    wanted = {"same-node", "other-node"}
    port = 40000
    while wanted:
        port += 1
        spec = parse_expression(f'IP(dst="{VIP}")/TCP(sport={port}, dport=80, flags="S")')
        recording = recorder.record("attempt", spec, recorder.send(port), "")
        where = (
            "other-node"
            if any("src=10.244.2.10" in line for line in recording.nodes[0].conntrack_after)
            else "same-node"
        )
        attempt = TARGET / f"attempt-{backend}.json"
        if where in wanted:
            attempt.rename(TARGET / f"{where}-{backend}.json")
            wanted.discard(where)
        attempt.unlink(missing_ok=True)
    recorder.record("client", ClientSpec("tcp", f"{VIP}:80"), recorder.fetch, "a real client's whole exchange")
    for server in recorder.servers.values():
        server.close()
    spec = parse_expression(f'IP(dst="{VIP}")/TCP(sport=40900, dport=80, flags="S")')
    recorder.record("refused", spec, recorder.send(40900), "the endpoint's server does not listen: RST")


if __name__ == "__main__":
    main("legacy" if sys.argv[1:] == ["legacy"] else "nft")
