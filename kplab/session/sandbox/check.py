"""Whether a lab can be started on this machine, and what mends it where not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kplab.errors import NamespacesError, SandboxError
from kplab.session.sandbox.ebpf import require_ebpf
from kplab.session.sandbox.namespaces import MAKE_NAMESPACES, OWN_USER, search_path

PROGRAMS = {
    "unshare": "util-linux",
    "setsid": "util-linux",
    "ip": "iproute2",
    "nft": "nftables",
    "iptables-nft-restore": "iptables",
    "ip6tables-nft-restore": "iptables",
    "iptables-legacy-restore": "iptables",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "curl": "curl",
    "bash": "bash",
}
"""Programs that a lab runs, and Debian's package of each."""

OTHER_WAYS = "without a lab there is still: kplab replay FILE, kplab rules MANIFEST, kplab lessons"

_LIMIT = 10.0


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why something cannot run here, and the command that mends it ("" when there is none)."""

    reason: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a lab needs."""

    name: str
    ok: bool
    found: str
    """What was found, in words."""
    mend: str = ""
    """The exact command that mends it; "" when all is well or nothing does."""


Run = Callable[[Sequence[str]], str | None]
"""Runs a program; returns None when it succeeded, else what it said."""


def ways(mode: str = "iptables") -> tuple[bool, ...]:
    """Return the ways to try, best first: True is with a user namespace of the lab's own, False is as root without.

    Raises:
        SandboxError: eBPF mode, whose programs cannot be loaded from a user namespace, cannot run here.
    """
    if mode == "ebpf":
        require_ebpf()
        return (False,)
    return (True, False) if os.geteuid() == 0 else (True,)


def checks(run: Run | None = None, proc: Path = Path("/proc")) -> tuple[Check, ...]:
    """Return everything that a lab needs, looked at on this machine. Changes nothing."""
    if sys.platform != "linux":
        return (Check("Linux", ok=False, found=f"this is {sys.platform}"),)
    programs = [_program(name, package) for name, package in PROGRAMS.items()]
    return (Check("Linux", ok=True, found=platform.release()), _namespaces(run or _run, proc), *programs)


def ebpf_check() -> Check:
    """Return whether eBPF mode can run; no other mode asks for it."""
    try:
        require_ebpf()
    except SandboxError as error:
        return Check("ebpf mode", ok=False, found=error.happened, mend=error.hint)
    return Check("ebpf mode", ok=True, found="root, clang, bpftool and libbpf's headers")


def can_run(run: Run | None = None, proc: Path = Path("/proc")) -> Unavailable | None:
    """Return None when a lab can be started here, else the first thing that is lacking."""
    for check in checks(run, proc):
        if not check.ok:
            return Unavailable(f"{check.name}: {check.found}", check.mend)
    return None


def missing_programs() -> str:
    """Return the names of a lab's programs that are not installed here, "" for none. Runs nothing."""
    return ", ".join(name for name, package in PROGRAMS.items() if not _program(name, package).ok)


def explain(failures: Sequence[str], *, refused: bool = False) -> SandboxError:
    """Return the error for a lab that could not be started, from what the ways that were tried said.

    `refused`: it was the kernel that gave no namespaces, rather than an agent that ended in them.
    """
    kind = NamespacesError if refused else SandboxError
    lacking = can_run()
    happened = "; then, without a user namespace: ".join(each for each in failures if each)
    if lacking is None:
        return kind("start a lab", happened or "its agent ended at once", f"kplab doctor says more; {OTHER_WAYS}")
    shown = f"{happened}; {lacking.reason}" if happened else lacking.reason
    mend = f"mend it with: {lacking.mend}; " if lacking.mend else ""
    return kind("start a lab", shown, f"{mend}{OTHER_WAYS}")


def _program(name: str, package: str) -> Check:
    path = shutil.which(name, path=search_path())
    if path:
        return Check(name, ok=True, found=path)
    return Check(name, ok=False, found="not found", mend=f"apt-get install {package}")


def _namespaces(run: Run, proc: Path) -> Check:
    """Try to make the very namespaces that a lab has; they vanish with the program in them."""
    told = ""
    for own_user in ways():
        said = run(("unshare", *(OWN_USER if own_user else ()), *MAKE_NAMESPACES, "true"))
        if said is None:
            how = "user namespace of its own, no privileges needed" if own_user else "as root, without a user namespace"
            return Check("namespaces", ok=True, found=how)
        told = told or said
    return Check("namespaces", ok=False, found=told, mend=_mend(proc))


def _mend(proc: Path) -> str:
    """The command that lifts what this kernel has against user namespaces."""
    switches = {
        "sys/user/max_user_namespaces": ("0", "sysctl -w user.max_user_namespaces=15000"),
        "sys/kernel/unprivileged_userns_clone": ("0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        "sys/kernel/apparmor_restrict_unprivileged_userns": (
            "1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    }
    for file, (forbidding, command) in switches.items():
        try:
            if (proc / file).read_text().strip() == forbidding:
                return f"sudo {command}"
        except OSError:
            continue
    return "" if os.geteuid() == 0 else "run it as root: sudo kplab …"


def _run(argv: Sequence[str]) -> str | None:
    environment = {**os.environ, "PATH": search_path(), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, env=environment, timeout=_LIMIT, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        return f"the program {argv[0]} is missing"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip() or f"exit status {done.returncode}")
