"""The sandbox `microvm`: the agent in a QEMU guest, with a distribution's kernel, for what this kernel lacks.

The guest has no network device and no disk. It sees the host's tree read-only (virtio-9p) under a tmpfs, so programs,
interpreter and kplab are at the same paths; and it speaks the protocol over a virtio serial port. A keeper process
(`microvm_keeper`) ends it when kplab goes, however kplab goes; nothing is written but the first file system, in the
cache.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kplab.errors import SandboxError
from kplab.session.sandbox.guest_image import bootable
from kplab.session.sandbox.guest_initramfs import initramfs
from kplab.session.sandbox.guest_kernel import GuestKernel, cache_folder, find_kernel
from kplab.session.sandbox.guest_preload import HostFile, host_files
from kplab.session.sandbox.namespaces import StartedAgent, search_path

NAME = "microvm"
QEMU, QEMU_PACKAGE = "qemu-system-x86_64", "qemu-system-x86"
PORT = "/dev/vport0p1"
"""The serial port as the guest's kernel calls it: the first device's port 1 (drivers/char/virtio_console.c)."""
GATE = "/dev/vport0p2"
"""The second port, on which a guest's agent is told to begin (`kplab.agent.gate`)."""
AGENT = ("-P", "-m", "kplab.agent.main", "--port", PORT)
MEMORY = 1024
"""MiB that the guest may use; QEMU takes from the host what the guest has touched."""
BOOT_LIMIT = 90.0
"""Seconds until a guest that has not come to its program is taken to hang."""
_LONGEST_COMMAND_LINE = 2047
"""Bytes (COMMAND_LINE_SIZE, arch/x86/include/asm/setup.h)."""
_QUIET = (
    "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off random.trust_cpu=on no_timer_check nowatchdog nokaslr "
    "apparmor=0 audit=0"
)
STAGES = {"kernel": "guest's kernel", "agent": "agent in the guest", "tree": "host's tree in the guest"}
"""What a guest says that it has reached, in order, and how a step is called; `agent` only where there is a gate."""
_PATIENCE = 0.02

Stage = Callable[[str, bool], None]
"""Told each stage of the guest's start: its name, and whether it is done."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a guest is made of on this machine."""

    qemu: str
    accelerator: str
    """`kvm` or `tcg`."""
    kernel: GuestKernel


def find_qemu() -> str:
    """Return QEMU's path.

    Raises:
        SandboxError: there is none.
    """
    qemu = shutil.which(QEMU, path=search_path())
    if qemu is None:
        raise SandboxError("start a guest", f"the program `{QEMU}` is missing", f"apt-get install {QEMU_PACKAGE}")
    return qemu


def find_machine() -> Machine:
    """Return what a guest can be made of here; the first call after the machine's start tries whether KVM works.

    Raises:
        SandboxError: QEMU or a kernel is missing.
    """
    from kplab.session.sandbox.microvm_accel import accelerator

    qemu, kernel = find_qemu(), find_kernel(os.environ)
    cache = cache_folder(os.environ)
    return Machine(qemu, accelerator(qemu, kernel, initramfs(kernel, cache, search_path()), cache), kernel)


def lives_in_tmp() -> bool:
    """Whether Python or kplab is under /tmp: a guest, which has a /tmp of its own otherwise, then needs the host's."""
    places = (sys.prefix, sys.base_prefix, sys.executable, __file__)
    return any(os.path.realpath(place).startswith("/tmp/") for place in places)  # noqa: S108


def agent_program(accelerator: str, *, gate: bool) -> tuple[str, ...]:
    """Return the command that runs the agent in the guest: process 1 of namespaces of its own, as on the host.

    With `gate` it is begun before the host's tree is there: what the guest mounts later shows in the agent's mount
    namespace too, and nothing the other way.
    """
    unshare = ("/run/guest/busybox", "unshare", "-m", "--propagation", "slave", "-n", "-p", "-f", "--mount-proc=/proc")
    return (*unshare, sys.executable, *AGENT, *(("--gate", GATE) if gate else ()), "--sandbox", f"{NAME}-{accelerator}")


@dataclass(frozen=True, slots=True)
class Wires:
    """Descriptors of QEMU's ends; 0 where there is none."""

    port: int
    gate: int = 0
    """Of the second port."""
    monitor: int = 0
    """Of the machine protocol, by which a guest is saved."""
    saved: int = 0
    """A saved guest to go on with, in place of one that boots."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What QEMU loads."""

    image: os.PathLike[str]
    first: os.PathLike[str]
    """The first file system."""


def guest_parts(machine: Machine, files: Sequence[HostFile] = ()) -> Parts:
    """Return what a guest is made of, from the cache; with `files` of the host's in its memory.

    Raises:
        SandboxError: busybox or a module is missing, or there is no room in the cache.
    """
    cache = cache_folder(os.environ)
    return Parts(bootable(machine.kernel, cache), initramfs(machine.kernel, cache, search_path(), files))


def agent_parts(machine: Machine) -> Parts:
    """Return what a guest with an agent in it is made of. Raises as `guest_parts`."""
    return guest_parts(machine, host_files(cache_folder(os.environ)))


def qemu_command(
    machine: Machine, parts: Parts, program: Sequence[str], wires: Wires, *, host_tmp: bool = False
) -> list[str]:
    """Return QEMU's command line.

    Raises:
        SandboxError: a path cannot be passed on the kernel's command line.
    """
    line = _kernel_line(machine, program, gate=bool(wires.gate), host_tmp=host_tmp)
    acceleration = ["-accel", "kvm", "-cpu", "host"]
    if machine.accelerator == "tcg":
        acceleration = ["-accel", "tcg,thread=multi", "-cpu", "max"]
    command = [
        machine.qemu, "-machine", "q35", *acceleration, "-smp", "2", "-m", str(MEMORY),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", str(parts.image), "-initrd", str(parts.first), "-append", line,
        "-chardev", "file,id=console,path=/proc/self/fd/2,append=on", "-device", "isa-serial,chardev=console",
        "-device", "virtio-serial-pci", "-chardev", f"socket,id=port,fd={wires.port}",
        "-device", "virtserialport,chardev=port,name=kplab,nr=1",
        "-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
    ]  # fmt: skip
    if wires.gate:
        gate = ["-chardev", f"socket,id=gate,fd={wires.gate}", "-device", "virtserialport,chardev=gate,name=gate,nr=2"]
        command += gate
    if wires.monitor:
        command += ["-chardev", f"socket,id=monitor,fd={wires.monitor}", "-mon", "chardev=monitor,mode=control"]
    if wires.saved:
        command += ["-incoming", f"fd:{wires.saved}"]
    return command


def _kernel_line(machine: Machine, program: Sequence[str], *, gate: bool, host_tmp: bool) -> str:
    if any(not word or set(word) & set(" \t\"'") for word in (*program, str(machine.kernel.modules))):
        raise SandboxError(
            "start a guest", f"a path has a space or a quote in it: {program}", "install kplab in another folder"
        )
    settings = [_QUIET, f"KPLAB_MODULES={machine.kernel.modules}", f'KPLAB_PROGRAM="{" ".join(program)}"']
    if host_tmp:
        settings.append("KPLAB_HOST_TMP=1")
    if gate:
        settings.append("KPLAB_GATE=1")
    line = " ".join(settings)
    if len(line.encode()) > _LONGEST_COMMAND_LINE:
        raise SandboxError("start a guest", f"its command line is too long: {line}", "install kplab in another folder")
    return line


def start_guest(
    machine: Machine, program: Sequence[str], listener: socket.socket | None = None, *, host_tmp: bool = False
) -> StartedAgent:
    """Start a guest that runs a program; with `listener` it is detached, and serves whoever connects there.

    The program speaks `kplab.protocol.relay` over `PORT`. With `host_tmp` the guest sees the host's /tmp as well.

    Raises:
        SandboxError: busybox or a module is missing, there is no room in the cache, or QEMU does not start.
    """
    parts = guest_parts(machine)
    return launch(lambda port: qemu_command(machine, parts, program, Wires(port), host_tmp=host_tmp), listener)


def launch(
    command: Callable[[int], list[str]], listener: socket.socket | None = None, wires: Sequence[int] = ()
) -> StartedAgent:
    """Start QEMU under a keeper. `command` gets the descriptor of the port; `wires` are further ones that QEMU has.

    Raises:
        SandboxError: the keeper does not start, or `command` raises it.
    """
    ours, channel = (None, listener) if listener else socket.socketpair()
    assert channel is not None  # noqa: S101 - one of the two
    outside, inside = socket.socketpair()
    said = os.memfd_create("kplab-guest-console")
    fcntl.fcntl(said, fcntl.F_SETFL, os.O_APPEND)
    option = "--listener" if listener else "--channel"
    keeper = [sys.executable, "-P", "-m", "kplab.session.sandbox.microvm_keeper"]
    try:
        process = subprocess.Popen(
            [*keeper, option, str(channel.fileno()), "--port", str(outside.fileno()), "--", *command(inside.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            pass_fds=(channel.fileno(), outside.fileno(), inside.fileno(), *wires),
            start_new_session=True,
            cwd="/",
        )
    except OSError as error:
        os.close(said)
        raise SandboxError("start a guest", str(error), "kplab doctor") from error
    finally:
        outside.close()
        inside.close()
        if ours:
            channel.close()
    return StartedAgent(ours, process, said, detached=listener is not None)


def wait_booted(guest: StartedAgent, limit: float = BOOT_LIMIT, stage: Stage | None = None) -> None:
    """Wait until a guest without a gate has begun its program; tell each stage on the way.

    Raises:
        SandboxError: it has ended, or has not come that far within `limit` seconds; with what its console shows.
    """
    until = time.monotonic() + limit
    for key in ("kernel", "tree"):
        wait_reached(guest, key, until - time.monotonic(), stage)


def wait_reached(guest: StartedAgent, key: str, limit: float, stage: Stage | None = None) -> None:
    """Wait until a guest says that it has reached a stage, one of `STAGES`; tell its beginning and end.

    Raises:
        SandboxError: it has ended, or has not come that far within `limit` seconds; with what its console shows.
    """
    until = time.monotonic() + limit
    ended = os.pidfd_open(guest.process.pid)
    try:
        if stage:
            stage(STAGES[key], False)
        while f"kplab-reached: {key}" not in guest.said():
            if select.select([ended], [], [], _PATIENCE)[0]:
                raise _failure(guest, "it ended before its program began")
            if time.monotonic() >= until:
                raise _failure(guest, f"it has not come to the {STAGES[key]} within {limit:.3g} s")
        if stage:
            stage(STAGES[key], True)
    finally:
        os.close(ended)


def console(guest: StartedAgent) -> str:
    """Return the last lines that the guest or QEMU said, for a message."""
    lines = [line for line in guest.said().replace("\r", "").splitlines() if line.strip()]
    return "\n".join(lines[-20:])


def _failure(guest: StartedAgent, what: str) -> SandboxError:
    said = console(guest)
    return SandboxError(
        "start a guest",
        f"{what}; its console shows:\n{said}" if said else f"{what}; its console shows nothing",
        "is the machine very busy? Else try another kernel: KPLAB_GUEST=FOLDER (boot/ and lib/modules/ in it)",
    )
