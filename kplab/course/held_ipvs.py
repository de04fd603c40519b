"""What IPVS mode keeps beside its rules: virtual servers, kube-ipvs0's addresses, ipsets, sysctls, timeouts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from kplab.session.base import Session
from kplab.trace.recording import NodeState, Save

DEVICE = "kube-ipvs0"
SYSCTLS = "net/ipv4/vs/* net/ipv4/ip_forward net/ipv4/conf/all/arp_*"
"""Those that kube-proxy sets in IPVS mode, and the others of IPVS, as files under /proc/sys."""
_ADDRESS = re.compile(r"^\d+: (?P<link>\S+) +inet6? (?P<address>\S+) .*scope (?!link)", re.MULTILINE)
_TIMEOUTS = re.compile(r": (?P<tcp>\d+) (?P<fin>\d+) (?P<udp>\d+)")
_END = "END-OF-TEXT"
_SHOW_ALL = "ip -o address show"
_SHOW_DEVICE = f"{_SHOW_ALL} dev {DEVICE} 2>/dev/null || echo none"
RESTORE = {4: "iptables", 6: "ip6tables"}
"""Of `…-nft-restore` and `…-legacy-restore`."""


@dataclass(frozen=True, slots=True)
class IpvsState:
    """As the tools print it: `ipvsadm -S -n`, `ipset save`; sysctls as "PATH = VALUE"."""

    servers: str
    sets: str
    addresses: frozenset[str]
    """Of all links: "10.96.0.42/32 dev kube-ipvs0"."""
    sysctls: str
    timeouts: tuple[str, ...]
    """Seconds for TCP, TCP after FIN, UDP, as `ipvsadm --set` takes them."""


def ipvs_state(session: Session, state: NodeState) -> IpvsState:
    """Read it; `state` is what the agent has read of the node already."""
    script = f"{_SHOW_ALL}; echo --; ipvsadm -L --timeout; echo --; cd /proc/sys; grep . {SYSCTLS}"
    device, timeouts, sysctls = (session.execute(state.node, ("sh", "-c", script)).stdout + "--\n--\n").split("--\n")[
        :3
    ]
    found = _TIMEOUTS.search(timeouts)
    lines = [line.partition(":") for line in sysctls.splitlines()]
    return IpvsState(
        servers=state.ipvs,
        sets=state.ipset,
        addresses=_addresses(device),
        sysctls="".join(f"{path} = {value}\n" for path, _, value in lines),
        timeouts=found.groups() if found else (),
    )


def addresses(session: Session, node: str) -> frozenset[str]:
    """Return the addresses of all links of a node, like "10.96.0.42/32 dev kube-ipvs0", but for links' own."""
    return _addresses(session.execute(node, ("sh", "-c", _SHOW_ALL)).stdout)


def bound_addresses(session: Session, node: str) -> frozenset[str] | None:
    """Return the addresses of kube-ipvs0, like "10.96.0.42/32"; None when there is no such device."""
    shown = session.execute(node, ("sh", "-c", _SHOW_DEVICE)).stdout
    return None if shown.strip() == "none" else frozenset(each.split()[0] for each in _addresses(shown))


def _addresses(shown: str) -> frozenset[str]:
    return frozenset(f"{found['address']} dev {found['link']}" for found in _ADDRESS.finditer(shown))


def put_back_script(state: IpvsState, saves: tuple[Save, ...], now: frozenset[str]) -> str:
    """Return one script that makes a node what it was: a program's start takes long in a guest without KVM.

    `now` are the addresses that the node's links have.
    Sets come before the rules that ask for them, and are flushed and filled: a set that a rule asks for cannot go.
    """
    return "".join(f"{line}\n" for line in _lines(state, saves, now))


def _lines(state: IpvsState, saves: tuple[Save, ...], now: frozenset[str]) -> Iterator[str]:
    yield from _fed("ipset -exist restore", "".join(f"{line}\n" for line in _refilled(state.sets)))
    for save in saves:
        yield from _fed(f"{RESTORE[save.family]}-{save.backend}-restore", save.text)
    yield "ipvsadm -C"
    yield from _fed("ipvsadm -R", state.servers)
    yield from _links(state.addresses, now)
    if state.timeouts:
        yield f"ipvsadm --set {' '.join(state.timeouts)}"
    yield from _fed("sysctl -q -p -", state.sysctls)
    kept = [line.split()[1] for line in state.sets.splitlines() if line.startswith("create ")]
    names = shlex.quote(f" {' '.join(kept)} ")
    yield f"for name in $(ipset list -name); do case {names} in"
    yield '*" $name "*) ;; *) ipset destroy "$name" ;; esac; done'


def _links(wanted: frozenset[str], now: frozenset[str]) -> Iterator[str]:
    yield f"ip link show {DEVICE} >/dev/null 2>&1 || ip link add {DEVICE} type dummy"
    yield f"ip link set {DEVICE} arp off"
    changes = [f"address delete {each}\n" for each in sorted(now - wanted)]
    changes += [f"address add {each}\n" for each in sorted(wanted - now)]
    if changes:
        yield from _fed("ip -batch -", "".join(changes))


def _fed(command: str, text: str) -> Iterator[str]:
    """A command with a text as its input, of which the shell changes nothing."""
    yield f"{command} <<'{_END}'"
    yield text.removesuffix("\n")
    yield _END


def _refilled(saved: str) -> Iterator[str]:
    for line in saved.splitlines():
        yield line
        if line.startswith("create "):
            yield f"flush {line.split()[1]}"
