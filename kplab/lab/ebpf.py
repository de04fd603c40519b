"""Loads and attaches the socket load balancer: a set of programs and maps a node.

Nothing of it can outlive the agent. The maps are pinned in a bpffs that only the lab's mount namespace has, the
programs are attached by links whose only holder is the agent, and no cgroup is made: the programs are attached where
the agent is anyway, and leave alone every socket whose network namespace is not the lab's (`kplab_netns`). So no other
process of that cgroup is translated. When the agent ends, by whatever, the kernel takes links, programs and maps away.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from kplab.errors import ApplyError, LabError, ProgramError, SandboxError
from kplab.lab import bpf_calls
from kplab.lab.ebpf_compile import MEND, cache_folder, compiled_object, source
from kplab.lab.netns import STATE, NetworkNamespaces
from kplab.lab.run import Runner
from kplab.model import bpf_maps as layout
from kplab.model.topology import Namespace, Topology

BPFFS = STATE / "bpf"
_CGROUPS = STATE / "cgroup"
PROGRAMS = {
    "kplab_connect4": bpf_calls.CGROUP_INET4_CONNECT,
    "kplab_sendmsg4": bpf_calls.CGROUP_UDP4_SENDMSG,
    "kplab_recvmsg4": bpf_calls.CGROUP_UDP4_RECVMSG,
    "kplab_peername4": bpf_calls.CGROUP_INET4_GETPEERNAME,
}
"""Functions of socket_lb.c, and the socket call that each is attached to."""
SIZES = {
    layout.SERVICES: (12, 12), layout.BACKENDS: (4, 12), layout.REVERSE_NAT: (2, 6),
    layout.AFFINITY_MATCH: (8, 1), layout.NODE_IPS: (4, 1),
}  # fmt: skip
"""Bytes of key and value of the maps that user space writes."""
SHOWN = (
    layout.SERVICES, layout.BACKENDS, layout.REVERSE_NAT, layout.REVERSE_SK, layout.AFFINITY, layout.AFFINITY_MATCH,
)  # fmt: skip
"""The maps that a node's state holds."""
_SO_NETNS_COOKIE = 71
"""asm-generic/socket.h; Linux 5.14."""
_POD, _NODE = 1, 2


@dataclass(frozen=True, slots=True)
class Balancers:
    """What holds the programs: close the links, and nothing of them is left."""

    links: tuple[int, ...]
    rings: tuple[int, ...]
    """Descriptors of each node's event ring, in the order of the nodes."""
    cookies: dict[int, str]
    """Network namespace cookie -> the namespace's name."""
    counters: tuple[bpf_calls.BpfMapFile, ...]
    """Each node's count of events that found no room in its ring."""

    def lost(self) -> int:
        """Return how many events have found no room so far."""
        return sum(struct.unpack("=Q", each.get(bytes(4)) or bytes(8))[0] for each in self.counters)

    def close(self) -> None:
        """Detach all programs."""
        for descriptor in (*self.links, *self.rings):
            os.close(descriptor)
        for each in self.counters:
            each.close()


def attach_balancers(
    topology: Topology, namespaces: NetworkNamespaces, runner: Runner, text: bytes | None = None
) -> Balancers:
    """Compile, load and attach the programs of every node. `text` is another C source than the one shipped.

    Raises:
        SandboxError: clang or bpftool is missing, or this process may not load BPF programs.
        ApplyError: the verifier refuses a program; holds its log. LabError: the kernel refuses something else.
    """
    if shutil.which("bpftool") is None:
        raise SandboxError("load the BPF programs", "the program bpftool is missing", MEND)
    built = compiled_object(runner, cache_folder(), source() if text is None else text)
    _mount(runner)
    cookies = {netns_cookie(namespaces, ns.name): ns.name for ns in topology.namespaces}
    links: list[int] = []
    rings: list[int] = []
    nodes = [ns for ns in topology.namespaces if ns.role == "node"]
    cgroup = os.open(own_cgroup(_CGROUPS), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for node in nodes:
            load_programs(runner, built, BPFFS / node.name)
            _name_namespaces(BPFFS / node.name, node, topology, cookies)
            for name, call in PROGRAMS.items():
                program = bpf_calls.open_pinned(BPFFS / node.name / "programs" / name)
                links.append(bpf_calls.link_to_cgroup(program, cgroup, call))
                os.close(program)
            rings.append(bpf_calls.open_pinned(BPFFS / node.name / "kplab_events"))
    finally:
        os.close(cgroup)
    counters = tuple(bpf_calls.BpfMapFile(BPFFS / node.name / "kplab_lost", 4, 8) for node in nodes)
    return Balancers(tuple(links), tuple(rings), cookies, counters)


def load_programs(runner: Runner, built: Path, folder: Path) -> None:
    """Load an object's programs, and pin them and their maps in `folder`.

    Raises:
        ApplyError: the kernel refuses; holds what bpftool (and the verifier) said.
    """
    folder.mkdir(parents=True)
    try:
        runner.run(["bpftool", "prog", "loadall", str(built), str(folder / "programs"), "pinmaps", str(folder)])
    except ProgramError as error:
        raise ApplyError(
            "the kernel refused the BPF programs",
            error.happened,
            "the log above names what it refused; kplab's own programs need Linux 5.14 with CONFIG_CGROUP_BPF",
        ) from error


def netns_cookie(namespaces: NetworkNamespaces, name: str) -> int:
    """Return the number by which BPF programs know a network namespace (SO_NETNS_COOKIE).

    Raises:
        LabError: this kernel does not tell it.
    """
    with namespaces.entered(name):
        return cookie_here()


def cookie_here() -> int:
    """Return the cookie of the network namespace that we are in. Raises LabError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            told = sock.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
        except OSError as error:
            raise LabError(
                "ask for a network namespace's cookie", error.strerror or "", "Linux 5.14 tells it"
            ) from error
    return int(struct.unpack("=Q", told)[0])


def own_cgroup(root: Path, proc: Path = Path("/proc/self/cgroup")) -> Path:
    """Return this process's folder in the cgroup v2 tree mounted at `root`.

    Raises:
        LabError: this kernel has no such tree.
    """
    for line in proc.read_text().splitlines():
        hierarchy, _, path = line.split(":", 2)
        if hierarchy == "0":
            return root / path.lstrip("/")
    raise LabError("find the agent's cgroup", f"{proc} names no cgroup v2", "the kernel needs CONFIG_CGROUP_BPF")


def _mount(runner: Runner) -> None:
    """Mount a bpffs and the cgroup v2 tree in the lab's own mount namespace."""
    for kind, target in (("bpf", BPFFS), ("cgroup2", _CGROUPS)):
        target.mkdir()
        try:
            runner.run(["mount", "-t", kind, kind, str(target)])
        except ProgramError as error:
            raise SandboxError(
                f"mount {kind} for the BPF programs", error.happened, "eBPF mode needs root: sudo kplab …"
            ) from error


def _name_namespaces(folder: Path, node: Namespace, topology: Topology, cookies: dict[int, str]) -> None:
    """Tell a node's programs which network namespaces are theirs."""
    numbers = {name: cookie for cookie, name in cookies.items()}
    table = bpf_calls.BpfMapFile(folder / "kplab_netns", 8, 4)
    for each in topology.namespaces:
        if each.name == node.name or each.node == node.name:
            role = _NODE if each.name == node.name else _POD
            table.put(struct.pack("=Q", numbers[each.name]), role.to_bytes(4, sys.byteorder))
    table.close()
