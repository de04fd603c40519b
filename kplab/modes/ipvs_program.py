"""What IPVS mode compiles to: addresses, virtual servers, ipsets, iptables rules; a value to print and compare."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from kplab.model.cluster import Family
from kplab.modes.ipvs_sets import ProgramSet
from kplab.modes.names import endpoint_text
from kplab.modes.program import IptablesProgram
from kplab.modes.units import Units

DEVICE = "kube-ipvs0"
"""The dummy device that holds the addresses of Services; never set up, which a local address does not need."""

VsProtocol = Literal["TCP", "UDP", "SCTP"]
_OPTIONS = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}


class VsKey(NamedTuple):
    """What a virtual server is known by."""

    protocol: VsProtocol
    address: str
    port: int

    @property
    def text(self) -> str:
        """Like "10.96.0.20:80", "[fd00::1]:80"."""
        return endpoint_text(self.address, self.port)

    @property
    def arguments(self) -> str:
        """Like "-t 10.96.0.20:80", as `ipvsadm -S -n` spells it."""
        return f"{_OPTIONS[self.protocol]} {self.text}"


@dataclass(frozen=True, slots=True)
class RealServer:
    """A place that a virtual server forwards to, by masquerading (`-m`), as kube-proxy always does."""

    address: str
    port: int
    weight: int = 1

    @property
    def text(self) -> str:
        """Like "10.244.1.10:8080"."""
        return endpoint_text(self.address, self.port)


@dataclass(frozen=True, slots=True)
class VirtualServer:
    """One IPVS service with its destinations."""

    key: VsKey
    scheduler: str
    persistent: int | None = None
    """Seconds that a client keeps its real server; None without ClientIP affinity."""
    port_hashed: bool = False
    """The scheduler's flag "mh-port" (0x10): `mh` hashes the source's port as well as its address."""
    reals: tuple[RealServer, ...] = ()

    @property
    def options(self) -> str:
        """What follows the key in `ipvsadm -A`: "-s rr -p 10800"."""
        flags = " -b mh-port" if self.port_hashed else ""
        return f"-s {self.scheduler}{'' if self.persistent is None else f' -p {self.persistent}'}{flags}"

    def lines(self) -> list[str]:
        """Return what `ipvsadm -R` reads: the service, then its destinations."""
        key = self.key.arguments
        return [f"-A {key} {self.options}", *(f"-a {key} -r {real.text} -m -w {real.weight}" for real in self.reals)]


@dataclass(frozen=True, slots=True)
class IpvsProgram:
    """All of one family's state in IPVS mode."""

    family: Family
    addresses: tuple[str, ...]
    """Bound to kube-ipvs0, each as a /32 or /128."""
    servers: tuple[VirtualServer, ...]
    sets: tuple[ProgramSet, ...]
    """All seventeen, empty ones too."""
    rules: IptablesProgram
    """nat, then filter. Their number does not depend on the number of Services."""
    endpoints: int = 0
    units: Units | None = field(default=None, compare=False, repr=False)
    """The service ports with their endpoints: what the next compilation starts from."""

    def address_text(self) -> str:
        """Return the addresses as lines for `ip -batch`."""
        length = 32 if self.family == 4 else 128
        return "".join(f"address add {address}/{length} dev {DEVICE}\n" for address in self.addresses)

    def ipset_text(self) -> str:
        """Return what `ipset restore -exist` reads."""
        lines = [f"create {each.create}" for each in self.sets]
        lines += [f"add {each.name} {entry}" for each in self.sets for entry in each.entries]
        return "\n".join(lines) + "\n"

    def ipvsadm_text(self) -> str:
        """Return what `ipvsadm -R` reads."""
        return "".join(f"{line}\n" for server in self.servers for line in server.lines())
