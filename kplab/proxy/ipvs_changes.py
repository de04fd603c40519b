"""What differs between a program of IPVS mode and what the kernel holds, as commands.

"Holds" is either what was just read from the kernel, or what an earlier sync is known to have written there.

Follows syncService, syncEndpoint and cleanLegacyService of pkg/proxy/ipvs/proxier.go, and graceful_termination.go:
a real server of TCP that still has connections is not deleted but given weight 0.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from kplab.model.ruleset import IpSet
from kplab.modes.ipvs_program import IpvsProgram, RealServer, VirtualServer, VsKey
from kplab.modes.ipvs_sets import ProgramSet
from kplab.modes.names import family_of
from kplab.proxy.ipvs_commands import DropReal, DropServer, PutReal, PutServer, ServerCommand
from kplab.rules.ipvsadm import HeldReal, HeldServer

Leaving = tuple[VsKey, str, int]
"""A real server that is waited for: its virtual server, its address and port."""


@dataclass(frozen=True, slots=True)
class ServerChanges:
    """Commands for virtual and real servers, and who is waited for when they have run."""

    first: tuple[ServerCommand, ...]
    """Before ipsets and rules: what is new or different."""
    last: tuple[DropServer, ...]
    """After them: virtual servers that nothing asks for."""
    leaving: frozenset[Leaving]


@dataclass(frozen=True, slots=True)
class AddressChanges:
    """Addresses of kube-ipvs0 that come before the rest, and that go after it."""

    first: tuple[str, ...]
    last: tuple[str, ...]


def address_changes(program: IpvsProgram, held: frozenset[str]) -> AddressChanges:
    """Return what kube-ipvs0 lacks and has too many; the other family's addresses stay."""
    mine = {address for address in held if family_of(address) == program.family}
    first = tuple(address for address in program.addresses if address not in mine)
    return AddressChanges(first, tuple(sorted(mine.difference(program.addresses))))


def set_changes(sets: Sequence[ProgramSet], held: Mapping[str, IpSet]) -> list[str]:
    """Return the commands of ipset that make these of the kernel's sets what the program wants.

    A member is added without `tcp:`, which is ipset's default: for each that names a protocol ipset opens
    /etc/protocols, and that is most of the time where the processor is emulated.
    """
    lines = []
    for wanted in sets:
        there = held.get(wanted.name)
        members = {as_printed(member) for member in there.members} if there else set()
        entries = {as_printed(entry): None for entry in wanted.entries}
        if there is None:
            lines.append(f"create {wanted.create}")
        lines += [f"del {wanted.name} {gone}" for gone in sorted(members - entries.keys())]
        lines += [f"add {wanted.name} {entry.replace(',tcp:', ',')}" for entry in entries if entry not in members]
    return lines


def as_printed(entry: str) -> str:
    """Return an entry as ipset prints it: a network of one address is that address."""
    return entry.removesuffix("/128" if ":" in entry.rpartition(",")[2] else "/32")


def server_changes(
    program: IpvsProgram, held: Sequence[HeldServer], leaving: Collection[Leaving], excluded: Sequence[str]
) -> ServerChanges:
    """Return the commands that make the kernel's virtual servers the program's.

    `leaving` are those who are waited for already. Virtual servers in an `excluded` CIDR (ipvs.excludeCIDRs) are
    somebody else's; any other that the program has not got is deleted, whoever made it.
    """
    mine = [server for server in held if family_of(server.address) == program.family]
    return part_changes(program.servers, mine, leaving, excluded)


def part_changes(
    servers: Sequence[VirtualServer], held: Sequence[HeldServer], leaving: Collection[Leaving], excluded: Sequence[str]
) -> ServerChanges:
    """Return the commands that make some virtual servers others, of one family."""
    there = {key_of(server): server for server in held}
    waiting: set[Leaving] = set()
    first: list[ServerCommand] = []
    for server in servers:
        old = there.get(server.key)
        if old is None:
            first.append(PutServer(server))
            first += [PutReal(server.key, real) for real in server.reals]
            continue
        if (old.scheduler, old.persistent, "mh-port" in old.flags) != _shape(server):
            first.append(PutServer(server, edit=True))
        first += _real_changes(server, old, leaving, waiting)
    wanted = {server.key for server in servers}
    gone = [DropServer(key) for key in there if key not in wanted and not _excluded(key.address, excluded)]
    return ServerChanges(tuple(first), tuple(gone), frozenset(waiting))


def key_of(server: HeldServer) -> VsKey:
    """Return what a virtual server of the kernel is known by."""
    return VsKey(server.protocol, server.address, server.port)


def _shape(server: VirtualServer) -> tuple[str, int | None, bool]:
    return server.scheduler, server.persistent, server.port_hashed


def _real_changes(
    server: VirtualServer, old: HeldServer, leaving: Collection[Leaving], waiting: set[Leaving]
) -> Iterator[ServerCommand]:
    key = server.key
    held = {(real.address, real.port): real for real in old.reals}
    wanted = {(real.address, real.port): real for real in server.reals}
    for place, real in wanted.items():
        there = held.get(place)
        if there is None:
            yield PutReal(key, real)
        elif (key, *place) in leaving:
            # Deleted and added, not edited: so does kube-proxy. The kernel gives it its connections back.
            yield DropReal(key, real)
            yield PutReal(key, real)
        elif there.weight != real.weight:
            yield PutReal(key, real, edit=True)
    for place, there in held.items():
        if place not in wanted:
            yield from remove(key, there, waiting)


def remove(key: VsKey, real: HeldReal, waiting: set[Leaving]) -> Iterator[ServerCommand]:
    """Delete a real server, or give it weight 0 while connections of TCP last; it is then put into `waiting`."""
    idle = RealServer(real.address, real.port, 0)
    if key.protocol == "TCP" and real.active + real.inactive > 0:
        waiting.add((key, real.address, real.port))
        if real.weight:
            yield PutReal(key, idle, edit=True)
    else:
        yield DropReal(key, idle)


def ended(
    reals_of: Callable[[VsKey], Sequence[HeldReal]], leaving: Collection[Leaving]
) -> tuple[list[ServerCommand], frozenset[Leaving]]:
    """Return the commands that delete those whose last connection has ended, and who is still waited for.

    `reals_of` tells a virtual server's real servers, with their connections.
    """
    waiting: set[Leaving] = set()
    commands: list[ServerCommand] = []
    for key in sorted({key for key, _, _ in leaving}):
        for real in reals_of(key):
            if (key, real.address, real.port) in leaving:
                commands += remove(key, real, waiting)
    return commands, frozenset(waiting)


def _excluded(address: str, excluded: Sequence[str]) -> bool:
    family = family_of(address)
    networks = (ip_network(cidr, strict=False) for cidr in excluded if family_of(cidr) == family)
    return any(ip_address(address) in network for network in networks)
