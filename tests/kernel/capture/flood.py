"""Send packets through thousands of Services at a steady rate, watch all of it, and print what came and what was lost.

    unshare -nmpf --mount-proc PYTHON -m tests.kernel.capture.flood BACKEND RATE SECONDS SERVICES

As root in the first user namespace: `iptables-nft-restore` sends a ruleset of this size in one message, larger than
net.core.wmem_max allows without CAP_NET_ADMIN there.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
from collections.abc import Iterator

import msgspec

from kplab.capture.handles import read_handles
from kplab.capture.tracing import tracing_ruleset
from kplab.capture.watch import Watch
from kplab.trace.recording import Backend
from tests.kernel.capture.world import World, raw_sender, run, udp, watch_all


class Outcome(msgspec.Struct):
    """What came of a flood."""

    sent: int
    delivered: int
    traced: int
    """Packets that node-a's trace shows entering PREROUTING."""
    events: int
    lost: int
    seconds: float
    busy: float
    """Seconds of processor time that reading and decoding took."""
    rules: int
    handles: float
    """Seconds that `read_handles` took; 0 with iptables-legacy."""


def address(n: int) -> str:
    """Return a Service's address."""
    return f"10.96.{n // 250 + 1}.{n % 250 + 1}"


def ruleset(services: int) -> str:
    """Return nat with that many UDP Services of two endpoints, both the pod web-2."""
    chains = [":PREROUTING ACCEPT", ":OUTPUT ACCEPT", ":POSTROUTING ACCEPT", ":INPUT ACCEPT", ":KUBE-SERVICES -"]
    rules = ["-A PREROUTING -j KUBE-SERVICES", "-A OUTPUT -j KUBE-SERVICES"]
    for n in range(services):
        service, ends = f"KUBE-SVC-{n:016d}", [f"KUBE-SEP-{n:015d}{end}" for end in (0, 1)]
        chains += [f":{name} -" for name in (service, *ends)]
        rules += [
            f"-A KUBE-SERVICES -d {address(n)}/32 -p udp -m udp --dport 80 -j {service}",
            f"-A {service} ! -s 10.244.0.0/16 -j MARK --set-xmark 0x4000/0x4000",
            f"-A {service} -m statistic --mode random --probability 0.5 -j {ends[0]}",
            f"-A {service} -j {ends[1]}",
        ]
        for end in ends:
            rules.append(f"-A {end} -s 10.244.2.10/32 -j MARK --set-xmark 0x4000/0x4000")
            rules.append(f"-A {end} -p udp -m udp -j DNAT --to-destination 10.244.2.10:8080")
    return "\n".join(["*nat", *chains, *rules, "COMMIT", ""])


def send(world: World, target: str, count: int, rate: int) -> int:
    """Send from a process of its own, each packet a new connection; return its pid."""
    sender = raw_sender(world, "client")
    pid = os.fork()
    if pid:
        return pid
    start = time.monotonic()
    for n in range(count):
        sender.sendto(udp("10.244.1.5", target, 20000 + n % 40000, 80, n.to_bytes(4, "big")), (target, 0))
        time.sleep(max(0.0, start + (n + 1) / rate - time.monotonic()))
    os._exit(0)


def follow(watch: Watch, pid: int) -> Iterator[tuple[str, bool]]:
    """Drain until the sender has ended and it is quiet; yield each event's kind, and if a packet entered node-a."""
    ended = False
    while True:
        ready = select.select(watch.filenos(), [], [], 0.5)[0]
        ended = ended or os.waitpid(pid, os.WNOHANG)[0] == pid
        for event in watch.drain():
            entry = event.node == "node-a" and getattr(event.what, "chain", "") == "prerouting-first"
            yield type(event.what).__name__, entry and bool(getattr(event.what, "packet", b""))
        if ended and not ready:
            return


def main(backend: Backend, rate: int, seconds: float, services: int) -> Outcome:
    """Build, load, flood, count."""
    world = World()
    world.build()
    text = ruleset(services)
    for node in ("node-a", "node-b"):
        with world.enter(node):
            run(f"iptables-{backend}-restore", stdin=text)
            run("nft", "-f", "-", stdin=tracing_ruleset("node", backend))
    with world.enter("node-a"):
        begun = time.perf_counter()
        read_handles()
        handles = time.perf_counter() - begun
    with world.enter("web-2"):
        hearer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        hearer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        hearer.bind(("", 8080))
        hearer.setblocking(False)
    watch, count, target = watch_all(world, backend, room=1 << 30), int(rate * seconds), address(services - 1)
    watch.begin()
    begun, busy = time.monotonic(), time.process_time()
    kinds = list(follow(watch, send(world, target, count, rate)))
    outcome = Outcome(count, 0, sum(new for _, new in kinds), len(kinds), sum(max(1, one.count) for one in watch.lost),
                      time.monotonic() - begun, time.process_time() - busy, text.count("\n-A "),
                      handles if backend == "nft" else 0.0)  # fmt: skip
    with contextlib.suppress(BlockingIOError):
        while hearer.recv(100):
            outcome.delivered += 1
    return outcome


if __name__ == "__main__":
    result = main(
        "legacy" if sys.argv[1] == "legacy" else "nft", int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    )
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
