"""What differs between a program of IPVS mode and what the kernel holds, as commands.

Follows syncService, syncEndpoint and cleanLegacyService of pkg/proxy/ipvs/proxier.go, and graceful_termination.go:
a real server of TCP that still has connections is not deleted but given weight 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from kplab.model.cluster import Family
from kplab.model.ruleset import IpSet
from kplab.modes.ipvs_program import DEVICE, IpvsProgram, RealServer, VirtualServer, VsKey
from kplab.modes.names import family_of
from kplab.rules.ipvsadm import HeldReal, HeldServer

Leaving = tuple[VsKey, str, int]
"""A real server that is waited for: its virtual server, its address and port."""


@dataclass(frozen=True, slots=True)
class ServerChanges:
    """Commands of ipvsadm, and who is waited for when they have run."""

    first: tuple[str, ...]
    """Before ipsets and rules: what is new or different."""
    last: tuple[str, ...]
    """After them: virtual servers that nothing asks for."""
    leaving: frozenset[Leaving]


def address_changes(program: IpvsProgram, held: frozenset[str] | None) -> tuple[list[str], list[str]]:
    """Return the commands of ip before and after the rest; `held` None: the device is not there yet.

    The device is never set up. Its IPv6 link-local address could only come from that.
    """
    length = 32 if program.family == 4 else 128
    mine = {address for address in held or () if family_of(address) == program.family}
    first = [] if held is not None else [f"link add {DEVICE} type dummy"]
    first += [f"address add {a}/{length} dev {DEVICE}" for a in program.addresses if a not in mine]
    last = [f"address del {a}/{length} dev {DEVICE}" for a in sorted(mine - set(program.addresses))]
    return first, last


def set_changes(program: IpvsProgram, held: Mapping[str, IpSet]) -> list[str]:
    """Return the commands of ipset that make the kernel's sets the program's.

    A member is added without `tcp:`, which is ipset's default: for each that names a protocol ipset opens
    /etc/protocols, and that is most of the time where the processor is emulated.
    """
    lines = []
    for wanted in program.sets:
        there = held.get(wanted.name)
        members = {_member(member) for member in there.members} if there else set()
        entries = {_member(entry): None for entry in wanted.entries}
        if there is None:
            lines.append(f"create {wanted.create}")
        lines += [f"del {wanted.name} {gone}" for gone in sorted(members - entries.keys())]
        lines += [f"add {wanted.name} {entry.replace(',tcp:', ',')}" for entry in entries if entry not in members]
    return lines


def _member(entry: str) -> str:
    """An entry as ipset prints it: a network of one address is that address."""
    return entry.removesuffix("/128" if ":" in entry.rpartition(",")[2] else "/32")


def server_changes(
    program: IpvsProgram, held: Sequence[HeldServer], leaving: Collection[Leaving], excluded: Sequence[str]
) -> ServerChanges:
    """Return the commands that make the kernel's virtual servers the program's.

    `leaving` are those who are waited for already. Virtual servers in an `excluded` CIDR (ipvs.excludeCIDRs) are
    somebody else's; any other that the program has not got is deleted, whoever made it.
    """
    there = {VsKey(s.protocol, s.address, s.port): s for s in held if family_of(s.address) == program.family}
    waiting: set[Leaving] = set()
    first: list[str] = []
    for server in program.servers:
        old = there.get(server.key)
        if old is None:
            first += server.lines()
            continue
        if (old.scheduler, old.persistent, "mh-port" in old.flags) != _shape(server):
            first.append(f"-E {server.key.arguments} {server.options}")
        first += _real_changes(server, old, leaving, waiting)
    wanted = {server.key for server in program.servers}
    gone = [key for key in there if key not in wanted and not _excluded(key.address, excluded, program.family)]
    return ServerChanges(tuple(first), tuple(f"-D {key.arguments}" for key in gone), frozenset(waiting))


def _shape(server: VirtualServer) -> tuple[str, int | None, bool]:
    return server.scheduler, server.persistent, server.port_hashed


def _real_changes(
    server: VirtualServer, old: HeldServer, leaving: Collection[Leaving], waiting: set[Leaving]
) -> Iterator[str]:
    key = server.key
    held = {(real.address, real.port): real for real in old.reals}
    wanted = {(real.address, real.port): real for real in server.reals}
    for place, real in wanted.items():
        there = held.get(place)
        if there is None:
            yield _add(key, real)
        elif (key, *place) in leaving:
            # Deleted and added, not edited: so does kube-proxy. The kernel gives it its connections back.
            yield f"-d {key.arguments} -r {real.text}"
            yield _add(key, real)
        elif there.weight != real.weight:
            yield f"-e {key.arguments} -r {real.text} -m -w {real.weight}"
    for place, there in held.items():
        if place not in wanted:
            yield from remove(key, there, waiting)


def remove(key: VsKey, real: HeldReal, waiting: set[Leaving]) -> Iterator[str]:
    """Delete a real server, or give it weight 0 while connections of TCP last; it is then put into `waiting`."""
    text = RealServer(real.address, real.port).text
    if key.protocol == "TCP" and real.active + real.inactive > 0:
        waiting.add((key, real.address, real.port))
        if real.weight:
            yield f"-e {key.arguments} -r {text} -m -w 0"
    else:
        yield f"-d {key.arguments} -r {text}"


def ended(held: Sequence[HeldServer], leaving: Collection[Leaving]) -> tuple[list[str], frozenset[Leaving]]:
    """Return the commands that delete those whose last connection has ended, and who is still waited for."""
    waiting: set[Leaving] = set()
    lines: list[str] = []
    for server in held:
        key = VsKey(server.protocol, server.address, server.port)
        for real in server.reals:
            if (key, real.address, real.port) in leaving:
                lines += remove(key, real, waiting)
    return lines, frozenset(waiting)


def _add(key: VsKey, real: RealServer) -> str:
    return f"-a {key.arguments} -r {real.text} -m -w {real.weight}"


def _excluded(address: str, excluded: Sequence[str], family: Family) -> bool:
    networks = (ip_network(cidr, strict=False) for cidr in excluded if family_of(cidr) == family)
    return any(ip_address(address) in network for network in networks)
