"""What IPVS mode keeps beside its rules: virtual servers, kube-ipvs0's addresses, ipsets, sysctls, timeouts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from kplab.session.base import Session
from kplab.trace.recording import NodeState

DEVICE = "kube-ipvs0"
SYSCTLS = r"^net\.ipv4\.(vs\.|ip_forward$|conf\.all\.arp_)"
"""Those that kube-proxy sets in IPVS mode, and the others of IPVS."""
_ADDRESS = re.compile(r"^\d+: \S+ +inet6? (?P<address>\S+) .*scope (?!link)", re.MULTILINE)
_TIMEOUTS = re.compile(r": (?P<tcp>\d+) (?P<fin>\d+) (?P<udp>\d+)")


class RunProgram(Protocol):
    """Runs a program in a node, and raises ProgramError when it fails."""

    def __call__(self, session: Session, node: str, *argv: str, text: str = "") -> None:
        """Run it with `text` as its input."""


@dataclass(frozen=True, slots=True)
class IpvsState:
    """As the tools print it: `ipvsadm -S -n`, `ipset save`, `sysctl`; addresses as "10.96.0.42/32"."""

    servers: str
    sets: str
    addresses: frozenset[str] | None
    """None: there is no such device."""
    sysctls: str
    timeouts: tuple[str, ...]
    """Seconds for TCP, TCP after FIN, UDP, as `ipvsadm --set` takes them."""


def ipvs_state(session: Session, state: NodeState) -> IpvsState:
    """Read it; `state` is what the agent has read of the node already."""
    node = state.node
    sysctls = session.execute(node, ("sysctl", "-a", "-r", SYSCTLS)).stdout
    timeouts = _TIMEOUTS.search(session.execute(node, ("ipvsadm", "-L", "--timeout")).stdout)
    return IpvsState(
        state.ipvs, state.ipset, bound_addresses(session, node), sysctls, timeouts.groups() if timeouts else ()
    )


def bound_addresses(session: Session, node: str) -> frozenset[str] | None:
    """Return the addresses of kube-ipvs0, like "10.96.0.42/32"; None when there is no such device."""
    listed = session.execute(node, ("ip", "-o", "address", "show", "dev", DEVICE))
    return frozenset(_ADDRESS.findall(listed.stdout)) if listed.status == 0 else None


def put_back_sets(session: Session, node: str, state: IpvsState, run: RunProgram) -> None:
    """Fill each set with the members that it had. A set that rules ask for cannot be destroyed, so it is flushed."""
    run(session, node, "ipset", "-exist", "restore", text="".join(f"{line}\n" for line in _refilled(state.sets)))


def put_back_ipvs(session: Session, node: str, state: IpvsState, run: RunProgram) -> None:
    """Load virtual servers whole, then give kube-ipvs0 the addresses that it had, and the rest its values."""
    run(session, node, "ipvsadm", "-C")
    run(session, node, "ipvsadm", "-R", text=state.servers)
    commands = list(_address_commands(state.addresses, bound_addresses(session, node)))
    if commands:
        run(session, node, "ip", "-batch", "-", text="".join(f"{line}\n" for line in commands))
    if state.timeouts:
        run(session, node, "ipvsadm", "--set", *state.timeouts)
    run(session, node, "sysctl", "-q", "-p", "-", text=state.sysctls)
    kept = {line.split()[1] for line in state.sets.splitlines() if line.startswith("create ")}
    for name in session.execute(node, ("ipset", "list", "-name")).stdout.split():
        if name not in kept:
            run(session, node, "ipset", "destroy", name)


def _refilled(saved: str) -> Iterator[str]:
    for line in saved.splitlines():
        yield line
        if line.startswith("create "):
            yield f"flush {line.split()[1]}"


def _address_commands(wanted: frozenset[str] | None, now: frozenset[str] | None) -> Iterator[str]:
    if wanted is None:
        if now is not None:
            yield f"link delete {DEVICE}"
        return
    if now is None:
        yield f"link add {DEVICE} type dummy"
        yield f"link set {DEVICE} arp off"
    yield from (f"address delete {address} dev {DEVICE}" for address in sorted((now or frozenset()) - wanted))
    yield from (f"address add {address} dev {DEVICE}" for address in sorted(wanted - (now or frozenset())))
