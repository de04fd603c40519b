"""What `kplab trace --format json` prints, and its hops as text that can be kept and read.

The text tells a connection's first packet, the packet with which kube-proxy opens a connection of its own (userspace
mode), and the first answer: each on the client, on the client's node, and in the pod. What differs from run to run is
named instead: the endpoint, the client's port, a port of kube-proxy's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KPLAB = Path(sys.executable).with_name("kplab")
GOLDEN = Path(__file__).parents[2] / "data" / "journeys"
ENDPOINTS = {"10.244.1.10:8080": "web-1", "10.244.1.11:8080": "web-2", "10.244.2.10:8080": "web-3"}

Told = dict[str, Any]
"""A journey, as its JSON has it."""


def trace_command(*words: str, limit: float = 240.0) -> Told:
    """Run `kplab trace WORDS --format json`, and return what it printed."""
    argv = [str(KPLAB), "trace", *words, "--format", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=limit, check=False)
    assert done.returncode == 0, done.stderr or done.stdout[-3000:]
    told: Told = json.loads(done.stdout)
    return told


def chosen_by(told: Told) -> str:
    """Return the endpoint that the mode's own hop says was chosen: "10.244.1.10:8080"."""
    hops = told["hops"]
    match told["mode"]:
        case "ipvs":
            return str(next(hop["ipvs"]["chosen"] for hop in hops if hop.get("ipvs")))
        case "ebpf":
            return str(next(hop["after"]["dst"] for hop in hops if hop["before"]["dst"] != hop["after"]["dst"]))
        case "userspace":
            return str(next(hop["after"]["dst"] for hop in hops if hop["kind"] == "proxy"))
        case _:
            return str(next(hop["after"]["dst"] for hop in hops if hop["kind"] == "DNAT"))


def assert_pod_agrees(told: Told) -> None:
    """The endpoint that was chosen is the one whose server says that it took the connection, and that curl names."""
    chosen = chosen_by(told)
    pod = ENDPOINTS[chosen]
    took = [
        hop for hop in told["hops"] if hop["kind"] == "delivered" and f"its server on {chosen} took it" in hop["text"]
    ]

    assert took, f"the server of {pod} took no connection"
    assert {hop["node"] for hop in took} == {pod}
    assert told["outcome"].endswith(f"curl ended with status 0: pod: {pod}")


def golden_text(told: Told) -> str:
    """Return the hops that decide, one a line: place, kind, hook, table, chain, what came of it, and the evidence."""
    return "\n".join(_lines(told)) + "\n"


def assert_golden(name: str, told: Told) -> None:
    """Compare with tests/data/journeys/NAME.txt; KPLAB_WRITE_GOLDEN=1 writes it anew."""
    path, text = GOLDEN / f"{name}.txt", golden_text(told)
    if os.environ.get("KPLAB_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")

    assert text == path.read_text(encoding="utf-8")


def _lines(told: Told) -> Iterator[str]:
    hops = told["hops"]
    yield f"{told['packet']} from {told['sender']}, mode {told['mode']}, {told['backend']}"
    opening = next((hop["packet"] for hop in hops if hop["kind"] == "proxy"), None)
    answer = next(hop["packet"] for hop in hops if hop["direction"] == "reply")
    parts = [("the first packet", 1), ("the first answer", answer), ("kube-proxy's own connection", opening)]
    for name, packet in sorted((part for part in parts if part[1] is not None), key=lambda part: int(part[1] or 0)):
        yield f"{name}:"
        mine = [hop for hop in hops if hop["packet"] == packet]
        yield from (f"  {line}" for line in map(_line, filter(_tells, mine)))


def _tells(hop: Told) -> bool:
    here = hop["node"] in ("client", "node-a", *ENDPOINTS.values())
    # The way between nodes depends on which endpoint was chosen.
    return here and hop["kind"] != "link"


def _line(hop: Told) -> str:
    node = "pod" if hop["node"] in ENDPOINTS.values() else hop["node"]
    where = " ".join(hop[key] for key in ("hook", "table", "chain") if hop.get(key))
    parts = [part for part in (where, hop.get("verdict"), _asked(hop), _rewritten(hop)) if part]
    return _plain(
        " ".join([f"{node:<7} {hop['kind']:<11}", *(["; ".join(parts)] if parts else []), f"[{hop['evidence']}]"])
    )


def _asked(hop: Told) -> str:
    if hop.get("ipvs"):
        choice = hop["ipvs"]
        return f"{choice['virtual_server']} {choice['scheduler']}, {len(choice['candidates'])} candidates"
    if hop.get("lookup"):
        return f"{hop['lookup']['map']}: {hop['lookup']['key']} -> {hop['lookup']['element']}"
    return ""


def _rewritten(hop: Told) -> str:
    before, after = hop["before"], hop["after"]
    sides = [f"{side} {before[side]} => {after[side]}" for side in ("src", "dst") if before[side] != after[side]]
    marks = [f"mark {before['mark']:#x} => {after['mark']:#x}"] if before["mark"] != after["mark"] else []
    return ", ".join([*sides, *marks])


def _plain(line: str) -> str:
    """Name what differs from run to run."""
    for endpoint in ENDPOINTS:
        address, _, port = endpoint.partition(":")
        line = line.replace(endpoint, "ENDPOINT").replace(f"{address} . tcp . {port}", "ENDPOINT")
        line = re.sub(rf"{re.escape(address)}\b", "POD", line)
    line = re.sub(r"KUBE-SEP-[A-Z0-9]{16}", "KUBE-SEP-ENDPOINT", line)
    line = re.sub(r"backend_slot [1-9]", "backend_slot CHOSEN", re.sub(r"backend_id \d+", "backend_id CHOSEN", line))
    # Of its own addresses a node takes the one of the interface that the packet leaves by.
    line = re.sub(r"(192\.168\.50\.10|10\.244\.1\.1):[1-6]\d{4}\b", "NODE:PORT", line)
    return re.sub(r"(\d):[1-6]\d{4}\b", r"\1:PORT", line)
