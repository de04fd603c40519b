"""Write what the kernel says, byte for byte, to tests/data/netlink/VERSION, beside the events that it means.

    unshare -Urnmpf --mount-proc PYTHON -m tests.kernel.capture.record_bytes

SOURCE.hex holds a datagram a line; SOURCE.json the interfaces' names and one event (or null) a datagram. The JSON is
made by the decoders themselves: read it through before committing it.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Mapping

import msgspec

from kplab.capture.decode_conntrack import decode_conntrack
from kplab.capture.decode_nflog import decode_nflog
from kplab.capture.decode_nftrace import decode_nft_trace
from kplab.capture.decode_ruleset import decode_new_generation
from kplab.capture.netlink import NetlinkMessage, messages
from kplab.capture.sources import NetlinkSource
from kplab.capture.watch import Watch
from kplab.trace.events import What
from tests.kernel.capture.world import (
    ROOT,
    VIP,
    VIP6,
    World,
    load_rules,
    raw_sender,
    run,
    serve,
    settle,
    udp,
)

TARGET = ROOT / "tests" / "data" / "netlink"
NODE = "node-a"
MOST = 48
"""Datagrams kept of a source."""

Decoder = Callable[[NetlinkMessage, Mapping[int, str]], What | None]
DECODERS: dict[str, Decoder] = {
    "nft trace": decode_nft_trace,
    "NFLOG": decode_nflog,
    "conntrack": lambda message, _: decode_conntrack(message),
    "ruleset": lambda message, _: decode_new_generation(message),
}


def act(world: World) -> None:
    """Make the node say one thing of each kind."""
    with world.enter(NODE):
        run("nft", "add table inet later")
        run("iptables-nft", "-t", "raw", "-A", "PREROUTING", "-p", "udp", "--dport", "9999", "-j", "DROP")
        run("iptables-nft", "-t", "raw", "-A", "PREROUTING", "-p", "udp", "--dport", "9998", "-j", "NFLOG",
            "--nflog-prefix", "not a trace: ")  # fmt: skip
        socket.create_connection((VIP, 80), 2.0).close()
    with world.enter("client"):
        socket.create_connection((VIP6, 80), 2.0).close()
        echo(socket.AF_INET, socket.IPPROTO_ICMP, 8, "10.244.2.10")
        echo(socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, "fd00:10:244:2::10")
    for port in (9998, 9999):
        raw_sender(world, "client").sendto(udp("10.244.1.5", VIP, 5000, port, b"hello"), (VIP, 0))
    time.sleep(0.1)
    with world.enter(NODE):
        run("conntrack", "-F")


def echo(family: socket.AddressFamily, protocol: int, kind: int, target: str) -> None:
    """Send one ping."""
    body = struct.pack("!BBHHH", kind, 0, 0, 77, 1)
    if family == socket.AF_INET:
        body = body[:2] + struct.pack("!H", ~((kind << 8) + 77 + 1) & 0xFFFF) + body[4:]
    with socket.socket(family, socket.SOCK_RAW, protocol) as sock:
        sock.sendto(body, (target, 0))


def kept(source: NetlinkSource) -> list[bytes]:
    """Return what the source has read, without the bulk: at most two datagrams of one shape."""
    seen: dict[object, int] = {}
    chosen: list[bytes] = []
    for _, data in source._raw:
        message = next(messages(data))
        event = DECODERS[source.name](message, {})
        key = shape(event)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= 2 and len(chosen) < MOST:
            chosen.append(data)
    return chosen


def shape(event: What | None) -> object:
    """Return what makes an event of its own kind."""
    fields = msgspec.structs.asdict(event) if event is not None else {}
    names = ("family", "kind", "verdict", "change", "state", "ct_state", "hook")
    proto = fields["original"].proto if "original" in fields else ""
    return tuple(str(fields.get(name)).split(" ")[0] for name in names), bool(fields.get("packet")), proto


def write(source: NetlinkSource, interfaces: dict[int, str]) -> None:
    """Write one source's two files."""
    stem = TARGET / ".".join(os.uname().release.split(".")[:2]) / source.name.lower().replace(" ", "-")
    stem.parent.mkdir(parents=True, exist_ok=True)
    data = kept(source)
    events = [DECODERS[source.name](next(messages(one)), interfaces) for one in data]
    plain = msgspec.to_builtins(events, builtin_types=(bytes,))
    for event in plain:
        if event and "packet" in event:
            event["packet"] = event["packet"].hex()
    head = f"# {source.name} of {source.place} on Linux {os.uname().release}: a datagram a line, in hex\n"
    stem.with_suffix(".hex").write_text(head + "".join(one.hex() + "\n" for one in data))
    expected = {"interfaces": {str(i): name for i, name in interfaces.items()}, "events": plain}
    stem.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(expected), indent=1) + b"\n")


def main() -> None:
    """Make all files."""
    world = World()
    world.build()
    # Both back-ends at once: iptables-nft's rules, and the legacy tables besides.
    load_rules(world, "nft", "dualstack")
    with world.enter(NODE):
        for program in ("iptables-legacy", "ip6tables-legacy"):
            run(program, "-t", "mangle", "-N", "SEEN")
            run(program, "-t", "mangle", "-A", "PREROUTING", "-j", "SEEN")
            run(program, "-t", "mangle", "-A", "SEEN", "-p", "tcp", "-j", "MARK", "--or-mark", "0x10")
        interfaces = dict(socket.if_nameindex())
    servers = [serve(world, pod) for pod in ("web-1", "web-2")]
    watch = Watch([world.place(NODE)], "legacy", time.time_ns)
    watch.open()
    settle(watch, 1.0, 10.0)
    watch.clear()
    act(world)
    time.sleep(0.3)
    watch.read()
    for source in watch._sources:
        if isinstance(source, NetlinkSource):
            write(source, interfaces)
    for server in servers:
        server.close()


if __name__ == "__main__":
    main()
