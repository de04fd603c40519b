"""Which sandbox a lab gets: the lightest one whose kernel has what the proxy mode needs."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kplab.errors import SandboxError
from kplab.session.sandbox.namespaces import NAME as NAMESPACES
from kplab.session.sandbox.namespaces import search_path

MICROVM, CONTAINER = "microvm", "container"
SANDBOXES = ("auto", NAMESPACES, MICROVM, CONTAINER)
NEEDS = {"ipvs": ("ip_vs", "dummy")}
"""The kernel's modules that a mode cannot do without, and that kernels lack."""
NOT_IN_CONTAINERS = {
    "ebpf": (
        "its programs are compiled by clang and attached by root, and the image has neither",
        "on Linux: sudo kplab … --mode ebpf; every other mode works in a container",
    )
}
"""Modes that the images cannot do: why, and what to do."""
_LIMIT = 5.0


@dataclass(frozen=True, slots=True)
class Choice:
    """A sandbox, and why it is that one."""

    sandbox: str
    why: str


Has = Callable[[str], bool]
"""Tells whether this kernel has a module, loaded, built in or to be loaded."""


@dataclass(frozen=True, slots=True)
class Here:
    """What is asked about this machine, each only when it matters."""

    platform: str
    programs: Callable[[], str]
    """The programs of a lab that are not installed, "" for none."""
    guest: Callable[[], str]
    """Why no guest can be started, "" if one can."""
    engine: Callable[[], str]
    """Why no container engine can be used, "" if one can."""


def choose(wanted: str, mode: str, has: Has | None = None, here: Here | None = None) -> Choice:
    """Return the sandbox for a lab in a mode; `wanted` is what the user asked for.

    Raises:
        SandboxError: there is no such sandbox, or it cannot do the mode here.
    """
    if wanted not in SANDBOXES:
        raise SandboxError(f"start a lab in the sandbox {wanted!r}", hint=f"known are: {', '.join(SANDBOXES)}")
    if wanted == CONTAINER:
        _require_in_container(mode)
        return Choice(CONTAINER, "asked for")
    machine = here or this_machine()
    if machine.platform != "linux":
        return _not_linux(wanted, mode, machine)
    if wanted == MICROVM:
        return Choice(MICROVM, "asked for")
    present = has or kernel_has
    lacking = [module for module in NEEDS.get(mode, ()) if not present(module)]
    if not lacking:
        return _in_namespaces(wanted, mode, machine)
    why = f"this machine's kernel {platform.release()} has no {' and no '.join(lacking)}"
    if wanted == NAMESPACES:
        raise SandboxError(
            f"start a lab in {mode} mode in namespaces",
            why,
            f"modprobe {' '.join(lacking)}; or let a guest's kernel do it: --sandbox {MICROVM}",
        )
    no_guest = machine.guest()
    if no_guest and not machine.engine():
        return Choice(CONTAINER, f"{why}, and no guest can be started: {no_guest}")
    return Choice(MICROVM, why)


def instead(wanted: str, mode: str, error: SandboxError, here: Here | None = None) -> Choice:
    """Return the container as the choice when namespaces failed that nobody had asked for by name.

    Raises:
        SandboxError: the very error, where a container would not do either.
    """
    if wanted != "auto" or mode in NOT_IN_CONTAINERS or (here or this_machine()).engine():
        raise error
    return Choice(CONTAINER, f"namespaces of this kernel do not do: {error.happened}")


def this_machine() -> Here:
    """Return what there is to ask about the machine that we run on."""
    from kplab.session.sandbox.check import missing_programs
    from kplab.session.sandbox.container_check import why_no_engine

    return Here(sys.platform, missing_programs, _why_no_guest, why_no_engine)


def _why_no_guest() -> str:
    from kplab.session.sandbox.microvm_check import why_no_guest  # it loads what only Linux has

    return why_no_guest()


def _in_namespaces(wanted: str, mode: str, machine: Here) -> Choice:
    if wanted == NAMESPACES:
        return Choice(NAMESPACES, "asked for")
    missing = "" if mode in NOT_IN_CONTAINERS else machine.programs()
    if missing and not machine.engine():
        return Choice(CONTAINER, f"not installed here: {missing}")
    return Choice(NAMESPACES, f"this kernel has all that {mode} mode needs")


def _not_linux(wanted: str, mode: str, machine: Here) -> Choice:
    if wanted != "auto":
        raise SandboxError(
            f"start a lab in the sandbox {wanted}",
            f"this is {machine.platform}, and it needs Linux",
            f"--sandbox {CONTAINER}",
        )
    _require_in_container(mode)
    return Choice(CONTAINER, f"this is {machine.platform}, and a lab needs Linux")


def _require_in_container(mode: str) -> None:
    if mode in NOT_IN_CONTAINERS:
        raise SandboxError(f"start a lab in {mode} mode in a container", *NOT_IN_CONTAINERS[mode])


def kernel_has(module: str, sys: Path = Path("/sys/module"), modules: Path = Path("/lib/modules")) -> bool:
    """Tell whether this machine's kernel has a module. Loads nothing."""
    if (sys / module).exists():
        return True
    builtin = modules / platform.release() / "modules.builtin"
    try:
        names = {Path(line).name.removesuffix(".ko").replace("-", "_") for line in builtin.read_text().splitlines()}
    except OSError:
        names = set()
    return module in names or _loadable(module)


def _loadable(module: str) -> bool:
    modprobe = shutil.which("modprobe", path=search_path())
    if modprobe is None:
        return False
    try:
        done = subprocess.run([modprobe, "-n", "-q", module], capture_output=True, timeout=_LIMIT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
