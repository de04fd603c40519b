"""What an earlier sync is known to have written, so that a change costs what has changed.

Connections are not remembered: of a virtual server that differs, the kernel is asked for its real servers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kplab.model.ruleset import IpSet
from kplab.modes.ipvs_program import IpvsProgram, VirtualServer, VsKey
from kplab.modes.ipvs_sets import ProgramSet
from kplab.proxy.ipvs_changes import as_printed
from kplab.rules.ipvsadm import HeldReal, HeldServer


def differing_servers(
    before: IpvsProgram, after: IpvsProgram
) -> tuple[tuple[VirtualServer, ...], tuple[VirtualServer, ...]]:
    """Return the virtual servers that changed, came or went: as they were, and as they shall be."""
    new = {server.key: server for server in after.servers}
    was = tuple(server for server in before.servers if server != new.get(server.key))
    touched = {server.key for server in was} | (new.keys() - {server.key for server in before.servers})
    return was, tuple(new[key] for key in new if key in touched)


def held_servers(
    servers: Sequence[VirtualServer], reals_of: Callable[[VsKey], Sequence[HeldReal]]
) -> tuple[HeldServer, ...]:
    """Return virtual servers that we wrote, with the real servers and connections that the kernel has for them now."""
    return tuple(
        HeldServer(
            *server.key,
            server.scheduler,
            server.persistent,
            frozenset({"mh-port"} if server.port_hashed else ()),
            tuple(reals_of(server.key)),
        )
        for server in servers
    )


def differing_sets(before: IpvsProgram, after: IpvsProgram) -> tuple[tuple[ProgramSet, ...], dict[str, IpSet]]:
    """Return the sets whose entries changed, and what the kernel holds of them."""
    pairs = [(old, new) for old, new in zip(before.sets, after.sets, strict=True) if old.entries != new.entries]
    held = {
        old.name: IpSet(old.name, old.type, old.family, frozenset(map(as_printed, old.entries))) for old, _ in pairs
    }
    return tuple(new for _, new in pairs), held
