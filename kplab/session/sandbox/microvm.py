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
from kplab.session.sandbox.guest_initramfs import initramfs
from kplab.session.sandbox.guest_kernel import GuestKernel, cache_folder, find_kernel
from kplab.session.sandbox.namespaces import StartedAgent, search_path

NAME = "microvm"
QEMU, QEMU_PACKAGE = "qemu-system-x86_64", "qemu-system-x86"
PORT = "/dev/vport0p1"
"""The serial port as the guest's kernel calls it: the first device's port 1 (drivers/char/virtio_console.c)."""
AGENT = ("-P", "-m", "kplab.agent.main", "--port", PORT, "--sandbox")
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
_STAGES = {"kernel": "guest's kernel", "tree": "host's tree in the guest"}
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


def agent_program(accelerator: str) -> tuple[str, ...]:
    """Return the command that runs the agent in the guest: process 1 of namespaces of its own, as on the host."""
    unshare = ("/run/guest/busybox", "unshare", "-m", "-n", "-p", "-f", "--mount-proc=/proc")
    return (*unshare, sys.executable, *AGENT, f"{NAME}-{accelerator}")


def qemu_command(
    machine: Machine, first: os.PathLike[str], program: Sequence[str], port: int, *, host_tmp: bool = False
) -> list[str]:
    """Return QEMU's command line; `port` is the descriptor of its end of the serial port.

    Raises:
        SandboxError: a path cannot be passed on the kernel's command line.
    """
    if any(not word or set(word) & set(" \t\"'") for word in (*program, str(machine.kernel.modules))):
        raise SandboxError(
            "start a guest", f"a path has a space or a quote in it: {program}", "install kplab in another folder"
        )
    settings = [_QUIET, f"KPLAB_MODULES={machine.kernel.modules}", f'KPLAB_PROGRAM="{" ".join(program)}"']
    if host_tmp:
        settings.append("KPLAB_HOST_TMP=1")
    line = " ".join(settings)
    if len(line.encode()) > _LONGEST_COMMAND_LINE:
        raise SandboxError("start a guest", f"its command line is too long: {line}", "install kplab in another folder")
    acceleration = ["-accel", "kvm", "-cpu", "host"]
    if machine.accelerator == "tcg":
        acceleration = ["-accel", "tcg,thread=multi", "-cpu", "max"]
    return [
        machine.qemu, "-machine", "q35", *acceleration, "-smp", "2", "-m", str(MEMORY),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", str(machine.kernel.image), "-initrd", str(first), "-append", line,
        "-chardev", "file,id=console,path=/proc/self/fd/2,append=on", "-device", "isa-serial,chardev=console",
        "-device", "virtio-serial-pci", "-chardev", f"socket,id=port,fd={port}",
        "-device", "virtserialport,chardev=port,name=kplab",
        "-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
    ]  # fmt: skip


def start_guest(
    machine: Machine, program: Sequence[str], listener: socket.socket | None = None, *, host_tmp: bool = False
) -> StartedAgent:
    """Start a guest that runs a program; with `listener` it is detached, and serves whoever connects there.

    The program speaks `kplab.protocol.relay` over `PORT`. With `host_tmp` the guest sees the host's /tmp as well.

    Raises:
        SandboxError: busybox or a module is missing, there is no room in the cache, or QEMU does not start.
    """
    first = initramfs(machine.kernel, cache_folder(os.environ), search_path())
    ours, channel = (None, listener) if listener else socket.socketpair()
    assert channel is not None  # noqa: S101 - one of the two
    outside, inside = socket.socketpair()
    said = os.memfd_create("kplab-guest-console")
    fcntl.fcntl(said, fcntl.F_SETFL, os.O_APPEND)
    option = "--listener" if listener else "--channel"
    try:
        qemu = qemu_command(machine, first, program, inside.fileno(), host_tmp=host_tmp)
        keeper = [sys.executable, "-P", "-m", "kplab.session.sandbox.microvm_keeper"]
        process = subprocess.Popen(
            [*keeper, option, str(channel.fileno()), "--port", str(outside.fileno()), "--", *qemu],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            pass_fds=(channel.fileno(), outside.fileno(), inside.fileno()),
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
    """Wait until the guest has begun its program; tell each stage on the way.

    Raises:
        SandboxError: it has ended, or has not come that far within `limit` seconds; with what its console shows.
    """
    until = time.monotonic() + limit
    ended = os.pidfd_open(guest.process.pid)
    try:
        for key, name in _STAGES.items():
            if stage:
                stage(name, False)
            while f"kplab-reached: {key}" not in guest.said():
                if select.select([ended], [], [], _PATIENCE)[0]:
                    raise _failure(guest, "it ended before its program began")
                if time.monotonic() >= until:
                    raise _failure(guest, f"it has not come to the {name} within {limit:g} s")
            if stage:
                stage(name, True)
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
