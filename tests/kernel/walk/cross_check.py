"""Send packets through kube-proxy's rules and hand-made ones, and compare the kernel's trace with the model.

Run inside private namespaces, as test_walk_agrees.py does:

    unshare -Urnmpf --mount-proc PYTHON tests/kernel/walk/cross_check.py BACKEND SCENARIO…

The namespace that it starts in is node-a. A second one holds node-a's pods, a third everything beyond the node's
eth0 (node-b, its pods, and the outside). For each scenario, a folder of tests/data/golden or "hand-made", one
line of JSON tells how many chains were walked, every disagreement, and which verdicts there were. With ":altered"
after its name, the walk is given a dump in which the Service's address is another than in the kernel.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kplab.capture.handles import read_handles
from kplab.capture.netlink import attribute, open_socket, request
from kplab.capture.tracing import lab_chains, tracing_ruleset
from kplab.capture.watch import Place, Watch
from kplab.model.ruleset import AddressMatch, PortMatch, ProtocolMatch, Ruleset
from kplab.rules.ipset_save import parse_ipset_save
from kplab.rules.iptables_save import parse_iptables_save
from kplab.trace.events import KernelEvent, LegacyTrace, NftTrace
from kplab.trace.lives import Life, find_lives
from kplab.trace.matching import NodeView, Probe
from kplab.trace.story import ct_at
from kplab.trace.walk import Walk, walk
from kplab.trace.walk_hits import hit_of

Backend = Literal["nft", "legacy"]
GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden"
FAMILIES: tuple[tuple[Literal[4, 6], str], ...] = ((4, "iptables"), (6, "ip6tables"))
CLONE_NEWNET = 0x40000000

PODS = {4: ("10.244.1.5", "10.244.1.10", "10.244.1.11"), 6: ("fd00:10:244:1::5", "fd00:10:244:1::10")}
BEYOND = {4: ("192.168.50.77", "10.244.2.10", "203.0.113.99"), 6: ("fd00:192:168:50::77", "fd00:10:244:2::10")}
NODE = {4: ("192.168.50.10",), 6: ("fd00:192:168:50::10",)}

HAND_MADE = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -m conntrack --ctstate NEW,RELATED,ESTABLISHED -m comment --comment "has an entry"
-A PREROUTING -m conntrack --ctstate INVALID -m comment --comment "has none yet"
-A PREROUTING -p udp -m udp --dport 9005 -j CT --notrack
-A OUTPUT -m conntrack --ctstate INVALID -m comment --comment "has none yet"
-A OUTPUT -m conntrack --ctstate NEW,RELATED,ESTABLISHED -m comment --comment "has an entry"
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -i veth+ -j MARK --set-xmark 0x10/0xf0
-A PREROUTING -m mark --mark 0x10/0xf0 -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff
-A OUTPUT -p udp -j MARK --set-xmark 0x7/0xffffffff
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:CHECKS - [0:0]
:PORTS - [0:0]
:SIDE - [0:0]
:EMPTY - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT ! -i lo -p tcp -m multiport --dports 22,8000:8100 -j CHECKS
-A INPUT -p udp -j REJECT
-A FORWARD -j EMPTY
-A FORWARD -m conntrack --ctstate UNTRACKED -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m set --match-set SOURCES src -m comment --comment "a network with a hole"
-A FORWARD -m set --match-set TARGETS dst,dst -m comment --comment "an address and a port"
-A FORWARD -m set ! --match-set PORTS dst -m comment --comment "other ports"
-A FORWARD -m set --match-set PAIRS dst,dst,src -m comment --comment "a port between two"
-A FORWARD -i veth+ -o eth0 -j CHECKS
-A FORWARD -p tcp -m tcp --dport 9001 -g SIDE
-A FORWARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m limit --limit 1/sec --limit-burst 2 -j LOG
-A FORWARD -m mark --mark 0x10/0xf0 -j ACCEPT
-A OUTPUT -p tcp -m tcp ! --dport 8080 -m comment --comment "only counts"
-A OUTPUT -m addrtype --dst-type LOCAL -j RETURN
-A OUTPUT -p tcp -m statistic --mode nth --every 2 --packet 0 -j EMPTY
-A CHECKS -j PORTS
-A CHECKS -p tcp -m tcp --dport 9003 -j REJECT --reject-with tcp-reset
-A CHECKS ! -p udp -j ACCEPT
-A PORTS -p tcp -m tcp --dport 9002 -j DROP
-A PORTS -p tcp -m tcp --sport 1024: -j RETURN
-A PORTS -j DROP
-A SIDE -s NET -j EMPTY
-A SIDE -p tcp -j RETURN
COMMIT
"""
"""Neither family's addresses but NET: user-defined chains, goto, RETURN, LOG, limit, marks, multiport, negations."""
HAND_NET = {4: "10.244.0.0/16", 6: "fd00:10:244::/48"}
SETS = """create SOURCES-4 hash:net family inet
add SOURCES-4 10.244.0.0/16
add SOURCES-4 10.244.1.10/32 nomatch
create TARGETS-4 hash:ip,port family inet
add TARGETS-4 192.168.50.77,tcp:9001
add TARGETS-4 192.168.50.77,udp:9001
create PAIRS-4 hash:ip,port,net family inet
add PAIRS-4 192.168.50.77,tcp:9003,10.244.1.0/24
create PORTS-4 bitmap:port range 0-65535
add PORTS-4 9001
create SOURCES-6 hash:net family inet6
add SOURCES-6 fd00:10:244::/48
add SOURCES-6 fd00:10:244:1::10/128 nomatch
create TARGETS-6 hash:ip,port family inet6
add TARGETS-6 fd00:192:168:50::77,tcp:9001
create PAIRS-6 hash:ip,port,net family inet6
add PAIRS-6 fd00:192:168:50::77,tcp:9003,fd00:10:244:1::/64
create PORTS-6 bitmap:port range 0-65535
add PORTS-6 9001
"""
"""Sets that the hand-made rules name, without the family at the end of each name."""


def run(*argv: str, stdin: str = "") -> str:
    """Run a program and return what it printed."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr}")
    return done.stdout


class Spaces:
    """The three network namespaces."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._held = {"node": os.open("/proc/self/ns/net", os.O_RDONLY)}
        for name in ("pods", "beyond"):
            self._call(self._libc.unshare(CLONE_NEWNET))
            self._held[name] = os.open("/proc/self/ns/net", os.O_RDONLY)
            self._call(self._libc.setns(self._held["node"], CLONE_NEWNET))

    def _call(self, result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    @contextmanager
    def entered(self, name: str) -> Iterator[None]:
        """Be in a namespace for a while."""
        self._call(self._libc.setns(self._held[name], CLONE_NEWNET))
        try:
            yield
        finally:
            self._call(self._libc.setns(self._held["node"], CLONE_NEWNET))

    def build(self) -> None:
        """Make links, addresses and routes."""
        for device, peer in (("veth-pods", "pods"), ("eth0", "beyond")):
            target = f"/proc/{os.getpid()}/fd/{self._held[peer]}"
            run("ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", target)
        for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/conf/all/route_localnet"):
            Path("/proc/sys/net", key).write_text("1")
        batch("link set lo up", "link set veth-pods up", "link set eth0 up", "addr add 192.168.50.10/24 dev eth0",
              "addr add fd00:192:168:50::10/64 dev eth0 nodad", "addr add 10.244.1.1/24 dev veth-pods",
              "addr add fd00:10:244:1::1/64 dev veth-pods nodad", "route add default via 192.168.50.77",
              "route add default via fd00:192:168:50::77")  # fmt: skip
        pods_by, beyond_by = ("10.244.1.1", "fd00:10:244:1::1"), ("192.168.50.10", "fd00:192:168:50::10")
        for name, addresses, gateway in (("pods", PODS, pods_by), ("beyond", BEYOND, beyond_by)):
            with self.entered(name):
                mine = [f"addr add {a}/{24} dev eth0" for a in addresses[4]]
                mine += [f"addr add {a}/{64} dev eth0 nodad" for a in addresses[6]]
                routes = [f"route add default via {via}" for via in gateway]
                batch("link set lo up", "link set eth0 up", *mine, *routes)


def batch(*lines: str) -> None:
    """Run ip commands."""
    run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")


@dataclass(frozen=True)
class Shot:
    """One packet to send (for TCP, a connection to begin)."""

    space: str
    family: Literal[4, 6]
    source: str
    target: str
    port: int
    proto: str


def shots_of(rulesets: list[Ruleset]) -> list[Shot]:
    """Find what rules ask for: every Service address and port, NodePorts, and some that are nobody's."""
    found: dict[Shot, None] = {}
    for ruleset in rulesets:
        for target, port, proto in _targets(ruleset):
            family = ruleset.family
            senders = [("pods", a) for a in PODS[family]] + [("beyond", a) for a in BEYOND[family]]
            senders += [("node", a) for a in NODE[family]]
            for space, source in senders:
                found[Shot(space, family, source, target, port, proto)] = None
    return list(found)


def _targets(ruleset: Ruleset) -> Iterator[tuple[str, int, str]]:
    node = NODE[ruleset.family][0]
    yield node, 9, "tcp"
    yield BEYOND[ruleset.family][1], 8080, "tcp"
    for port in (8080, 9001, 9002, 9003, 9004):
        yield BEYOND[ruleset.family][0], port, "tcp"
        yield PODS[ruleset.family][0], port, "tcp"
    yield BEYOND[ruleset.family][0], 9001, "udp"
    yield BEYOND[ruleset.family][0], 9005, "udp"
    yield node, 8080, "tcp"
    yield "127.0.0.1" if ruleset.family == 4 else "::1", 9, "tcp"
    for table in ruleset.tables.values():
        for name in ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES"):
            for rule in table.chains[name].rules if name in table.chains else ():
                ports = [m.ranges[0][0] for m in rule.matches if isinstance(m, PortMatch)]
                proto = next((m.protocol for m in rule.matches if isinstance(m, ProtocolMatch)), "tcp")
                hosts = [
                    str(m.network.network_address)
                    for m in rule.matches
                    if isinstance(m, AddressMatch) and m.network.num_addresses == 1
                ]
                if ports and proto in ("tcp", "udp"):
                    yield (hosts or [node])[0], ports[0], proto


def fire(spaces: Spaces, shots: list[Shot]) -> list[socket.socket]:
    """Send everything without waiting; the sockets are to be closed by the caller."""
    fired = []
    for shot in shots:
        with spaces.entered(shot.space):
            kind = socket.SOCK_STREAM if shot.proto == "tcp" else socket.SOCK_DGRAM
            sock = socket.socket(socket.AF_INET if shot.family == 4 else socket.AF_INET6, kind)
        sock.setblocking(False)
        fired.append(sock)
        try:
            sock.bind((shot.source, 0))
            sock.connect((shot.target, shot.port))
            sock.send(b"kplab")
        except OSError:
            continue  # in progress, or refused by the rules: the trace has it either way
    return fired


def listen(spaces: Spaces) -> list[socket.socket]:
    """Serve TCP 8080 in the pods and beyond, without ever accepting: the kernel completes the handshake."""
    made = []
    for name in ("pods", "beyond"):
        with spaces.entered(name):
            sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("::", 8080))
            sock.listen(512)
            made.append(sock)
    return made


def settle(watch: Watch, quiet: float = 0.1, limit: float = 5.0) -> list[KernelEvent]:
    """Collect events until none has come for `quiet` seconds."""
    events: list[KernelEvent] = []
    end = time.monotonic() + limit
    while time.monotonic() < end:
        ready, _, _ = select.select(watch.filenos(), [], [], quiet)
        if not ready:
            break
        events += watch.drain()
    return events


@dataclass
class Report:
    """What came of one scenario."""

    scenario: str
    walks: int = 0
    disagreements: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    lost: int = 0


def load(backend: Backend, scenario: str) -> None:
    """Put a scenario's rules into node-a."""
    for family, program in FAMILIES:
        if scenario == "hand-made":
            text = HAND_MADE.replace("-s NET", f"-s {HAND_NET[family]}")
            text = re.sub(r"(--match-set [A-Z]+)", rf"\1-{family}", text)
        else:
            text = (GOLDEN / scenario / f"iptables-{backend}.{program}-save").read_text()
        # Tables that the text does not name keep what the scenario before left in them.
        for table in ("raw", "nat", "filter", "mangle"):
            run(f"{program}-{backend}", "-t", table, "-F")
            run(f"{program}-{backend}", "-t", table, "-X")
        run(f"{program}-{backend}-restore", stdin=text)
    run("nft", "-f", "-", stdin=tracing_ruleset("node", backend))


def rulesets_of(backend: Backend, altered: bool) -> list[Ruleset]:
    """Read node-a's rules back from the kernel."""
    handles = read_handles()
    texts = [(family, run(f"{program}-{backend}-save")) for family, program in FAMILIES]
    if altered:
        texts = [(family, text.replace("10.96.0.20/32", "10.96.0.21/32")) for family, text in texts]
    return [parse_iptables_save(text, family, backend, handles) for family, text in texts]


def view() -> NodeView:
    """Read what rules ask about the node."""
    addresses = [info["local"] for link in json.loads(run("ip", "-j", "addr")) for info in link["addr_info"]]
    routes = [*run("ip", "route").splitlines(), *run("ip", "-6", "route").splitlines()]
    lists = Path("/proc/self/net/xt_recent")
    recent = [(path.name, path.read_text()) for path in lists.iterdir()] if lists.is_dir() else []
    return NodeView.read(addresses, routes, recent, parse_ipset_save(run("ipset", "save")))


def check_life(life: Life, rulesets: list[Ruleset], node: NodeView, report: Report) -> None:
    """Walk one packet through every base chain that the trace shows."""
    mark = 0
    for visit in life.visits:
        if visit.lab:
            continue
        ruleset = next(r for r in rulesets if r.family == visit.headers.family)
        said = ct_at(life, visit, None)
        messages = [event.what for event in visit.events if isinstance(event.what, NftTrace | LegacyTrace)]
        probe = Probe(
            visit.headers, mark=mark, iif=messages[0].iif, oif=messages[0].oif, ct_state=said.state,
            ct_status=said.status, bridged=False, node=node,
        )  # fmt: skip
        found = walk(ruleset, visit.table, visit.chain, probe, [hit_of(what, ruleset) for what in messages])
        mark = found.mark_after
        note(report, found, f"{visit.table} {visit.chain} {visit.headers}")


def note(report: Report, found: Walk, where: str) -> None:
    """Count a walk."""
    report.walks += 1
    report.disagreements += [f"{each.text} ({where})" for each in found.disagreements]
    if found.unfinished:
        report.unfinished.append(f"{found.unfinished} ({where})")
    report.verdicts[found.verdict or "none"] += 1
    for segment in found.segments:
        report.verdicts[segment.verdict.split(" ")[0]] += 1
        for skipped in segment.skipped:
            report.reasons[" ".join(re.sub(r"\S*[0-9]\S*", "#", skipped.reason).split()[:6])] += 1


def check(spaces: Spaces, backend: Backend, scenario: str) -> Report:
    """Play one scenario twice: the second time lists and connections are there already."""
    name, _, altered = scenario.partition(":")
    load(backend, name)
    rulesets = rulesets_of(backend, bool(altered))
    asked = rulesets_of(backend, False)
    report = Report(scenario)
    for _ in range(2):
        node = view()
        shots = shots_of(asked)
        # A few at a time, as the trace's identities repeat: they are the skbs' addresses.
        for at in range(0, len(shots), 24):
            watch = Watch([Place("node-a", "node", nullcontext, ())], backend, time.time_ns)
            watch.open()
            try:
                fired = fire(spaces, shots[at : at + 24])
                events = settle(watch)
                for sock in fired:
                    sock.close()
                events += settle(watch)
                report.lost += len(watch.lost)
            finally:
                watch.close()
            traced = [e for e in events if isinstance(e.what, NftTrace | LegacyTrace)]
            for life in find_lives("node-a", traced, frozenset(lab_chains())):
                check_life(life, rulesets, node, report)
    return report


def make_nfacct(name: str) -> None:
    """Make the counter that kube-proxy's rules name (NFNL_MSG_ACCT_NEW of NFNL_SUBSYS_ACCT)."""
    with open_socket() as sock:
        sock.send(request(7 << 8, 0x400 | 0x200, 0, attribute(1, name.encode() + b"\0")))


def main(backend: Backend, scenarios: list[str]) -> None:
    """Check each scenario and print a line of JSON."""
    spaces = Spaces()
    spaces.build()
    for name in ("ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"):
        make_nfacct(name)
    run("ipset", "restore", stdin=SETS)
    servers = listen(spaces)
    for scenario in scenarios:
        report = check(spaces, backend, scenario)
        print(json.dumps(vars(report)), flush=True)  # noqa: T201 -- the test reads it
    for server in servers:
        server.close()


if __name__ == "__main__":
    main("legacy" if sys.argv[1] == "legacy" else "nft", sys.argv[2:])
