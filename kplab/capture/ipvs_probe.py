"""A kprobe on ip_vs_conn_new: which real server the scheduler chose, said by the kernel at the moment of the choice.

ip_vs_schedule() asks the scheduler, and hands what it chose to ip_vs_conn_new() (net/netfilter/ipvs/ip_vs_core.c,
ip_vs_conn.c). Its first argument is a struct ip_vs_conn_param (include/net/ip_vs.h); that struct's beginning has been
the same since Linux 4.4: ipvs, caddr, vaddr, cport, vport, protocol, af. A kprobe event of tracefs reads it, so that
neither a compiler nor BPF is needed. A kprobe is the kernel's, not a namespace's: it is for a guest that is the lab's.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from kplab.errors import CaptureError
from kplab.trace.events import IpvsConnection, Lost

SOURCE = "IPVS probe"
EVENT = "ipvs_new"
PROBE = (
    f"p:kplab/{EVENT} ip_vs:ip_vs_conn_new af=+30($arg1):u16 protocol=+28($arg1):u16 flags=$arg5:x32 "
    "client=+0(+8($arg1)):x8[16] cport=+24($arg1):x8[2] virtual=+0(+16($arg1)):x8[16] vport=+26($arg1):x8[2] "
    "real=+0($arg3):x8[16] rport=$arg4:u16\n"
)
"""Ports of the struct are in network order; so is `rport`, which a register holds."""

_TEMPLATE = 0x1000
"""IP_VS_CONN_F_TEMPLATE (include/uapi/linux/ip_vs.h)."""
_PROTOCOLS: dict[str, Literal["TCP", "UDP", "SCTP"]] = {"6": "TCP", "17": "UDP", "132": "SCTP"}
_LINE = re.compile(rf" (\d+)\.(\d{{6}}): {EVENT}: \([^)]*\) (.*)")
_LOST = re.compile(r"\[LOST (\d+) EVENTS\]")

Stamped = tuple[int, IpvsConnection | Lost]


class IpvsProbe:
    """The probe's own buffer of tracefs, read without waiting."""

    def __init__(self, pipe: int) -> None:
        """`pipe` is `trace_pipe` of an instance whose clock is `mono`, opened without blocking."""
        self._pipe = pipe
        self._begun = b""

    def read(self) -> list[Stamped]:
        """Return what has been chosen since the last call, with ns of CLOCK_REALTIME. Never blocks."""
        ahead = time.time_ns() - time.monotonic_ns()
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._pipe, 65536):
                self._begun += data
        *lines, self._begun = self._begun.split(b"\n")
        return [(stamp + ahead, what) for line in lines for stamp, what in parse_probe_line(line.decode())]

    def close(self) -> None:
        """Close the pipe; the probe itself goes with the guest."""
        os.close(self._pipe)


def open_ipvs_probe(tracing: Path) -> IpvsProbe:
    """Set the probe and begin to listen; `tracing` is where tracefs is mounted.

    Raises:
        CaptureError: the kernel has no kprobe events, or ip_vs_conn_new cannot be probed.
    """
    instance = tracing / "instances" / "kplab"
    try:
        _append(tracing / "kprobe_events", PROBE)
        instance.mkdir(exist_ok=True)
        (instance / "trace_clock").write_text("mono\n")
        (instance / "events" / "kplab" / EVENT / "enable").write_text("1\n")
        return IpvsProbe(os.open(instance / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        raise CaptureError(
            "set a kprobe on ip_vs_conn_new",
            f"{error.strerror}: {error.filename or 'kprobe_events'}",
            "the kernel needs CONFIG_KPROBE_EVENTS; without it the choice is worked out from IPVS's tables",
        ) from error


def _append(path: Path, text: str) -> None:
    """Write to a file of tracefs as the shell's >> does: Python's own mode "a" seeks, which such a file refuses."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def parse_probe_line(line: str) -> Iterator[Stamped]:
    """Yield what a line of `trace_pipe` says, with ns of the trace's own clock; a line of another form says nothing."""
    lost = _LOST.search(line)
    if lost:
        yield time.monotonic_ns(), Lost(SOURCE, int(lost.group(1)))
    found = _LINE.search(line)
    if found is None:
        return
    seconds, micros, words = found.groups()
    fields = dict(word.split("=", 1) for word in words.split(" ") if "=" in word)
    size = {"2": 4, "10": 16}.get(fields.get("af", ""))
    protocol = _PROTOCOLS.get(fields.get("protocol", ""))
    if size is None or protocol is None:
        return
    try:
        yield (
            int(seconds) * 1_000_000_000 + int(micros) * 1000,
            IpvsConnection(
                protocol=protocol,
                client=_place(fields["client"], size, int.from_bytes(_octets(fields["cport"]), "big")),
                virtual=_place(fields["virtual"], size, int.from_bytes(_octets(fields["vport"]), "big")),
                destination=_place(fields["real"], size, socket.ntohs(int(fields["rport"]))),
                template=bool(int(fields["flags"], 16) & _TEMPLATE),
            ),
        )
    except (KeyError, ValueError):
        # "(fault)" where the kernel could not read an argument.
        return


def _octets(text: str) -> bytes:
    """Read "{0xa,0xf4}"."""
    return bytes(int(each, 16) for each in text.strip("{}").split(","))


def _place(text: str, size: int, port: int) -> str:
    address = str(ip_address(_octets(text)[:size]))
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
