"""Ask the kernel a number of questions in the small world, and print what capture made of its answers.

    unshare -Urnmpf --mount-proc PYTHON -m tests.kernel.capture.play BACKEND

The output is one JSON object: question -> `Answer`.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from kplab.capture.handles import read_generation, read_handles
from kplab.capture.tracing import tracing_ruleset
from kplab.capture.watch import Place, Watch
from kplab.errors import CaptureError
from kplab.trace.events import FrameSeen, KernelEvent, Lost
from kplab.trace.recording import Backend
from tests.kernel.capture.world import (
    VIP,
    VIP6,
    World,
    load_rules,
    raw_sender,
    run,
    serve,
    settle,
    syn,
    udp,
    watch_all,
)  # fmt: skip

RATE, FLOOD, OVERFLOW = 1000, 1000, 4000
"""Packets a second, and packets in all, of the two floods."""


class Answer(msgspec.Struct):
    """What was seen, and whatever else a test wants to compare it with."""

    events: list[KernelEvent]
    extra: dict[str, Any] = {}


class Play:
    """The world, its watch, and the questions."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.world = World()
        self.world.build()
        self.saved_before = ""
        load_rules(self.world, backend, "dualstack")
        with self.world.enter("node-a"):
            # A rule in raw, so that the table is there, and a rule that drops.
            run(f"iptables-{backend}", "-t", "raw", "-A", "PREROUTING", "-p", "udp", "--dport", "9999", "-j", "DROP")
        self.servers = [serve(self.world, pod) for pod in ("web-1", "web-2")]
        self.watch = watch_all(self.world, backend)
        settle(self.watch, 1.0, 10.0)

    def ask(self, act: Callable[[], None]) -> list[KernelEvent]:
        """Do something, and return the events until it is quiet."""
        self.watch.begin()
        act()
        return settle(self.watch)

    def service(self) -> Answer:
        """A hand-made SYN from a pod to the Service; its kernel answers the SYN-ACK with RST."""
        packet = syn("10.244.1.5", VIP, 40001, 80)
        sender = raw_sender(self.world, "client")
        events = self.ask(lambda: self._hand_over(sender, packet, VIP))
        with self.world.enter("node-a"):
            listed = run("conntrack", "-L", "-o", "extended,id")
        return Answer(events, {"packet": packet.hex(), "conntrack": listed})

    @staticmethod
    def _hand_over(sender: socket.socket, packet: bytes, target: str) -> None:
        sender.sendto(packet, (target, 0))

    def service6(self) -> Answer:
        """A real connection over IPv6."""
        return Answer(self.ask(lambda: self._connect("client", VIP6)))

    def own_process(self) -> Answer:
        """A real connection from the node's own process: OUTPUT, and masquerading."""
        return Answer(self.ask(lambda: self._connect("node-a", VIP)))

    def _connect(self, place: str, target: str) -> None:
        with self.world.enter(place):
            client = socket.create_connection((target, 80), 2.0)
        client.close()

    def dropped(self) -> Answer:
        """A datagram that a rule in raw drops."""
        packet = udp("10.244.1.5", VIP, 5000, 9999, b"nobody hears this")
        sender = raw_sender(self.world, "client")
        return Answer(self.ask(lambda: self._hand_over(sender, packet, VIP)))

    def changed(self) -> Answer:
        """Somebody changes the ruleset while a question is asked, and again while none is."""
        events = self.ask(lambda: self._nft("add table inet later"))
        with self.world.enter("node-a"):
            generation = read_generation()
        self.watch.rest()
        self._nft("delete table inet later")
        return Answer([*events, *self.watch.drain()], {"generation": generation})

    def _nft(self, command: str) -> None:
        with self.world.enter("node-a"):
            run("nft", command)

    def handles(self) -> Answer:
        """The handles, and nft's own listing."""
        with self.world.enter("node-a"):
            listing = run("nft", "-a", "-j", "list", "ruleset")
            found = [[h.family, h.table, h.chain, list(h.handles)] for h in read_handles()]
        return Answer([], {"handles": found, "nft": listing})

    def own_rules(self) -> Answer:
        """The node's iptables rules with our tracing table, applied twice, and without it."""
        with self.world.enter("node-a"):
            run("nft", "-f", "-", stdin=tracing_ruleset("node", self.backend))
            with_ours = run(f"iptables-{self.backend}-save")
            listing = run("nft", "list", "table", "inet", "kplab-trace")
            run("nft", "delete table inet kplab-trace")
            without = run(f"iptables-{self.backend}-save")
            run("nft", "-f", "-", stdin=tracing_ruleset("node", self.backend))
        return Answer([], {"with": _rules(with_ours), "without": _rules(without), "listing": listing})

    def flood(self) -> Answer:
        """A second of datagrams at a steady rate, read as they come."""
        self._quiet_service()
        sender = raw_sender(self.world, "client")
        self.watch.clear()
        start = time.monotonic()
        for n in range(FLOOD):
            self._hand_over(sender, udp("10.244.1.5", "10.244.2.10", 6000, 9000, n.to_bytes(4, "big")), "10.244.2.10")
            self.watch.read()
            time.sleep(max(0.0, start + (n + 1) / RATE - time.monotonic()))
        events = settle(self.watch)
        return Answer([], _counts(events))

    def overflow(self) -> Answer:
        """More datagrams than the sockets hold, with nobody reading."""
        sender = raw_sender(self.world, "client")
        self.watch.clear()
        for n in range(OVERFLOW):
            self._hand_over(sender, udp("10.244.1.5", "10.244.2.10", 6000, 9000, n.to_bytes(4, "big")), "10.244.2.10")
        events = settle(self.watch)
        lost = [[e.node, e.what.source, e.what.count] for e in events if isinstance(e.what, Lost)]
        after = self.dropped()
        return Answer(after.events, {**_counts(events), "lost": lost, "reported": len(self.watch.lost)})

    def _quiet_service(self) -> None:
        """Have somebody listen, so that no ICMP error doubles the traffic."""
        with self.world.enter("web-2"):
            hearer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            hearer.bind(("", 9000))
        self.servers.append(hearer)

    def little_room(self) -> Answer:
        """Ten datagrams, watched by somebody who keeps two events and a bit."""
        with Watch([self.world.place("client")], self.backend, time.time_ns, room=600) as watch:
            sender = raw_sender(self.world, "client")
            watch.begin()
            for _ in range(10):
                self._hand_over(sender, udp("10.244.1.5", VIP, 5000, 9999, b"nobody hears this"), VIP)
            events = settle(watch)
            watch.begin()
            self._hand_over(sender, udp("10.244.1.5", VIP, 5000, 9999, b"nobody hears this"), VIP)
            kept = sum(isinstance(event.what, FrameSeen) for event in events)
            lost = sum(event.what.count for event in events if isinstance(event.what, Lost))
            return Answer(settle(watch), {"kept": kept, "lost": lost})

    def second_reader(self) -> Answer:
        """Another process asks for NFLOG's group 0 in the same namespace: legacy only."""
        if self.backend == "nft":
            return Answer([], {"error": ""})
        place = self.world.place("node-a")
        other = Watch([Place("node-a", "node", place.enter, ())], "legacy", time.time_ns)
        try:
            other.open()
        except CaptureError as error:
            left = other.filenos()
            return Answer([], {"error": str(error), "left": left})
        return Answer([], {"error": "it was allowed"})

    def logger(self) -> Answer:
        """Who logs in the node's namespace."""
        with self.world.enter("node-a"):
            done = subprocess.run(["sysctl", "-n", "net.netfilter.nf_log.2", "net.netfilter.nf_log.10"],
                                  capture_output=True, text=True, check=True)  # fmt: skip
        return Answer([], {"loggers": done.stdout.split()})


def _rules(save: str) -> list[str]:
    return [line for line in save.splitlines() if line.startswith("-A")]


def _counts(events: list[KernelEvent]) -> dict[str, int]:
    """Count, per node and kind, what came; and the packets that entered PREROUTING."""
    counts: dict[str, int] = {}
    for event in events:
        if isinstance(event.what, FrameSeen) and event.what.protocol != 0x0800:
            continue  # neighbours are looked for from time to time
        name = f"{event.node} {type(event.what).__name__}"
        counts[name] = counts.get(name, 0) + 1
        if getattr(event.what, "chain", "") == "prerouting-first" and getattr(event.what, "packet", b""):
            counts[f"{event.node} packets"] = counts.get(f"{event.node} packets", 0) + 1
    return counts


QUESTIONS = (
    "service", "service6", "own_process", "dropped", "changed", "handles", "own_rules", "flood", "overflow",
    "little_room", "second_reader", "logger",
)  # fmt: skip


def main(backend: Backend) -> None:
    """Ask everything, in order."""
    play = Play(backend)
    answers: dict[str, Answer] = {name: getattr(play, name)() for name in QUESTIONS}
    sys.stdout.buffer.write(msgspec.json.encode(answers))


if __name__ == "__main__":
    main("legacy" if sys.argv[1:] == ["legacy"] else "nft")
