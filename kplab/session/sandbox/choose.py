"""Which sandbox a lab gets: the lightest one whose kernel has what the proxy mode needs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kplab.errors import SandboxError
from kplab.session.sandbox.namespaces import NAME as NAMESPACES
from kplab.session.sandbox.namespaces import search_path

MICROVM = "microvm"
SANDBOXES = ("auto", NAMESPACES, MICROVM)
NEEDS = {"ipvs": ("ip_vs", "dummy")}
"""The kernel's modules that a mode cannot do without, and that kernels lack."""
_LIMIT = 5.0


@dataclass(frozen=True, slots=True)
class Choice:
    """A sandbox, and why it is that one."""

    sandbox: str
    why: str


Has = Callable[[str], bool]
"""Tells whether this kernel has a module, loaded, built in or to be loaded."""


def choose(wanted: str, mode: str, has: Has | None = None) -> Choice:
    """Return the sandbox for a lab in a mode; `wanted` is what the user asked for.

    Raises:
        SandboxError: there is no such sandbox, or this kernel cannot do the mode in namespaces.
    """
    if wanted not in SANDBOXES:
        raise SandboxError(f"start a lab in the sandbox {wanted!r}", hint=f"known are: {', '.join(SANDBOXES)}")
    if wanted == MICROVM:
        return Choice(MICROVM, "asked for")
    present = has or kernel_has
    lacking = [module for module in NEEDS.get(mode, ()) if not present(module)]
    if not lacking:
        return Choice(
            NAMESPACES, "asked for" if wanted == NAMESPACES else f"this kernel has all that {mode} mode needs"
        )
    why = f"this machine's kernel {os.uname().release} has no {' and no '.join(lacking)}"
    if wanted == NAMESPACES:
        raise SandboxError(
            f"start a lab in {mode} mode in namespaces",
            why,
            f"modprobe {' '.join(lacking)}; or let a guest's kernel do it: --sandbox {MICROVM}",
        )
    return Choice(MICROVM, why)


def kernel_has(module: str, sys: Path = Path("/sys/module"), modules: Path = Path("/lib/modules")) -> bool:
    """Tell whether this machine's kernel has a module. Loads nothing."""
    if (sys / module).exists():
        return True
    builtin = modules / os.uname().release / "modules.builtin"
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
