"""Whether a guest really starts with KVM here.

A /dev/kvm alone says little: in a machine that is virtual itself a guest may hang, or not start at all.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from kplab.session.sandbox.guest_kernel import GuestKernel
from kplab.session.sandbox.namespaces import boot_id

KVM = Path("/dev/kvm")
PROBE_LIMIT = 4.0
"""Seconds; with a KVM that works the guest's kernel has come and gone in less than one."""


def accelerator(qemu: str, kernel: GuestKernel, first: Path, cache: Path, kvm: Path = KVM) -> str:
    """Return `kvm` where a guest starts with it, else `tcg`. The answer is kept in the cache until the next boot."""
    if not os.access(kvm, os.R_OK | os.W_OK):
        return "tcg"
    kept = cache / "accelerator"
    now = boot_id()
    with contextlib.suppress(OSError, ValueError):
        boot, found = kept.read_text().split()
        if boot == now and found in ("kvm", "tcg"):
            return found
    found = "kvm" if _starts(qemu, kernel, first) else "tcg"
    with contextlib.suppress(OSError):
        kept.write_text(f"{now} {found}\n")
    return found


def _starts(qemu: str, kernel: GuestKernel, first: Path) -> bool:
    """Tell whether the guest's kernel runs the first script within the limit."""
    line = "console=ttyS0 quiet panic=-1 KPLAB_PROBE=1"
    argv = [
        qemu, "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "256", "-nodefaults", "-no-user-config",
        "-display", "none", "-no-reboot", "-kernel", str(kernel.image), "-initrd", str(first), "-append", line,
        "-chardev", "stdio,id=console,signal=off", "-device", "isa-serial,chardev=console",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_LIMIT, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"kplab-reached: kernel" in done.stdout
