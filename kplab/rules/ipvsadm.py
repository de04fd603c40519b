"""What ipvsadm prints -> values.

`ipvsadm -L -n` lists virtual servers with the connections of each real server,
`ipvsadm -S -n` prints the same as commands, and `ipvsadm -L -n -c` lists connections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal

from kplab.errors import UsageError

VsProtocol = Literal["TCP", "UDP", "SCTP"]
_SAVE_PROTOCOLS: dict[str, VsProtocol] = {"-t": "TCP", "-u": "UDP", "--sctp-service": "SCTP"}
_LIST_PROTOCOLS: dict[str, VsProtocol] = {"TCP": "TCP", "UDP": "UDP", "SCTP": "SCTP"}


@dataclass(frozen=True, slots=True)
class HeldReal:
    """One real server as the kernel holds it."""

    address: str
    """Canonical, without brackets."""
    port: int
    weight: int
    active: int = 0
    """Connections that are established; 0 where it was read from `-S`, which does not tell."""
    inactive: int = 0


@dataclass(frozen=True, slots=True)
class HeldServer:
    """One virtual server as the kernel holds it."""

    protocol: VsProtocol
    address: str
    port: int
    scheduler: str
    persistent: int | None = None
    """Seconds, or None."""
    flags: frozenset[str] = frozenset()
    """The scheduler's, like "mh-port"."""
    reals: tuple[HeldReal, ...] = ()


@dataclass(frozen=True, slots=True)
class Connection:
    """One line of `ipvsadm -L -n -c`; addresses are "10.0.0.1:80", "[fd00::1]:80"."""

    protocol: str
    """"TCP", "UDP", or "IP" for some templates of persistence."""
    expires: str
    """Minutes and seconds: "14:59"."""
    state: str
    client: str
    virtual: str
    destination: str
    line: str = field(compare=False, default="")
    """Verbatim, without outer blanks."""


def parse_list(text: str) -> tuple[HeldServer, ...]:
    """Read `ipvsadm -L -n`. Raises UsageError where a line is not of the format."""
    found: list[_Draft] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0] in ("IP", "Prot") or words[:2] == ["->", "RemoteAddress:Port"]:
            continue
        if words[0] in _LIST_PROTOCOLS and len(words) >= 3:
            found.append(_Draft(_LIST_PROTOCOLS[words[0]], *split_address(words[1]), words[2], words[3:]))
        elif words[0] == "FWM":
            found.append(_Draft(None, "", 0, "", []))
        elif words[0] == "->" and found and len(words) >= 6:
            real = HeldReal(*split_address(words[1]), int(words[3]), int(words[4]), int(words[5]))
            found[-1].reals.append(real)
        else:
            raise UsageError(f"line {number} of the virtual servers cannot be read", line[:200], "Give ipvsadm -L -n.")
    return tuple(draft.server() for draft in found if draft.protocol is not None)


def parse_save(text: str) -> tuple[HeldServer, ...]:
    """Read `ipvsadm -S -n`. Raises UsageError where a line is not of the format."""
    found: list[_Draft] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        protocol = _SAVE_PROTOCOLS.get(words[1]) if len(words) > 2 else None
        if words[:1] == ["-A"] and protocol:
            options = dict(zip(words[3::2], words[4::2], strict=False))
            rest = ["persistent", options["-p"]] if "-p" in options else []
            rest += [f"({options['-b']})"] if "-b" in options else []
            found.append(_Draft(protocol, *split_address(words[2]), options.get("-s", ""), rest))
        elif words[:1] == ["-a"] and protocol and found and words[3] == "-r":
            weight = int(words[words.index("-w") + 1]) if "-w" in words else 1
            found[-1].reals.append(HeldReal(*split_address(words[4]), weight))
        elif words:
            raise UsageError(f"line {number} of the virtual servers cannot be read", line[:200], "Give ipvsadm -S -n.")
    return tuple(draft.server() for draft in found)


def parse_connections(text: str) -> tuple[Connection, ...]:
    """Read `ipvsadm -L -n -c`; lines that are no connection are headings, and left out."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 6 and words[1].replace(":", "").isdecimal():
            found.append(Connection(words[0], words[1], words[2], words[3], words[4], words[5], line.strip()))
    return tuple(found)


def split_address(text: str) -> tuple[str, int]:
    """Return ("fd00::1", 80) of "[fd00::1]:80", ("10.0.0.1", 80) of "10.0.0.1:80"."""
    address, _, port = text.rpartition(":")
    return str(ip_address(address.strip("[]"))), int(port)


@dataclass(slots=True)
class _Draft:
    """A virtual server whose real servers still come; without a protocol it is one by firewall mark."""

    protocol: VsProtocol | None
    address: str
    port: int
    scheduler: str
    rest: list[str]
    reals: list[HeldReal] = field(default_factory=list)

    def server(self) -> HeldServer:
        """Return it whole."""
        seconds = int(self.rest[self.rest.index("persistent") + 1]) if "persistent" in self.rest else None
        flags = next((word.strip("()").split(",") for word in self.rest if word.startswith("(")), [])
        return HeldServer(
            self.protocol or "TCP",
            self.address,
            self.port,
            self.scheduler,
            seconds,
            frozenset(flags),
            tuple(self.reals),
        )
