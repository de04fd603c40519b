"""Whether a guest can be started on this machine, and what mends it where not; for `kplab doctor`. Starts nothing."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping

from kplab.errors import SandboxError
from kplab.session.sandbox.check import Check, Unavailable
from kplab.session.sandbox.guest_initramfs import BUSYBOX
from kplab.session.sandbox.guest_kernel import MEND, find_kernel
from kplab.session.sandbox.microvm import QEMU, QEMU_PACKAGE
from kplab.session.sandbox.namespaces import search_path

Which = Callable[[str], str | None]


def microvm_checks(environment: Mapping[str, str] = os.environ, which: Which | None = None) -> tuple[Check, ...]:
    """Return everything that a guest needs, looked at on this machine. Changes nothing."""
    if sys.platform != "linux":
        return (Check("microvm", ok=False, found=f"this is {sys.platform}"),)
    find = which or (lambda name: shutil.which(name, path=search_path()))
    programs = [_program(find, name, package) for name, package in ((QEMU, QEMU_PACKAGE), ("busybox", BUSYBOX))]
    return (*programs, _kernel(environment))


def can_run_microvm(environment: Mapping[str, str] = os.environ, which: Which | None = None) -> Unavailable | None:
    """Return None when a guest can be started here, else the first thing that is lacking."""
    for check in microvm_checks(environment, which):
        if not check.ok:
            return Unavailable(f"{check.name}: {check.found}", check.mend)
    return None


def why_no_guest() -> str:
    """Return why no guest can be started here, "" if one can."""
    lacking = can_run_microvm()
    return lacking.reason if lacking else ""


def _program(find: Which, name: str, package: str) -> Check:
    path = find(name)
    if path:
        return Check(f"guest: {name}", ok=True, found=path)
    return Check(f"guest: {name}", ok=False, found="not found", mend=f"apt-get install {package}")


def _kernel(environment: Mapping[str, str]) -> Check:
    name = "guest: kernel"
    try:
        kernel = find_kernel(environment)
    except SandboxError as error:
        return Check(name, ok=False, found=error.happened, mend=MEND)
    return Check(name, ok=True, found=f"{kernel.image}, with ip_vs")
