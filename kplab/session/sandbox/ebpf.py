"""Whether this machine can run a lab in eBPF mode, and what mends it where not: looked at before anything starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from kplab.errors import SandboxError
from kplab.session.sandbox.namespaces import search_path

MEND = "apt-get install --no-install-recommends clang llvm libbpf-dev libc6-dev-i386 bpftool"
PROGRAMS = ("clang", "bpftool")
HEADER = Path("/usr/include/bpf/bpf_helpers.h")
KERNEL = "it takes Linux 5.14 with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF; every other mode works without"
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21
"""linux/capability.h: to attach to socket calls, to mount a bpffs and to load programs."""


def require_ebpf(
    which: Callable[[str], str | None] | None = None,
    *,
    header: Path = HEADER,
    uid: int | None = None,
    proc: Path = Path("/proc"),
) -> None:
    """Do nothing where eBPF mode can run.

    Raises:
        SandboxError: it cannot; says what is missing, and the exact command that mends it.
    """
    tried = "start a lab in ebpf mode"
    if (os.geteuid() if uid is None else uid) != 0:
        raise SandboxError(
            tried,
            "BPF programs on socket calls cannot be loaded from a user namespace: it takes root",
            "sudo kplab …; every other mode works without",
        )
    held = _capabilities(proc / "self/status")
    lacking = [name for name, bit in (("CAP_NET_ADMIN", CAP_NET_ADMIN), ("CAP_SYS_ADMIN", CAP_SYS_ADMIN))
               if not held >> bit & 1]  # fmt: skip
    if lacking:
        raise SandboxError(
            tried,
            f"this root lacks {' and '.join(lacking)}",
            "in a container: --cap-add SYS_ADMIN,NET_ADMIN",
        )
    lacking = [kind for kind in ("bpf", "cgroup2") if f"\t{kind}\n" not in (proc / "filesystems").read_text()]
    if lacking:
        raise SandboxError(tried, f"this kernel has no {' and no '.join(lacking)} file system", KERNEL)
    if "0::" not in (proc / "self/cgroup").read_text():
        raise SandboxError(tried, f"this process is in no cgroup v2: {proc}/self/cgroup has no line 0::", KERNEL)
    find = which or (lambda name: shutil.which(name, path=search_path()))
    missing = [name for name in PROGRAMS if find(name) is None]
    if missing:
        raise SandboxError(tried, f"not installed: {', '.join(missing)}", MEND)
    if not header.exists():
        raise SandboxError(tried, f"the header {header} is missing", MEND)


def _capabilities(status: Path) -> int:
    """Return the effective capabilities; all of them where the file says nothing."""
    for line in status.read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return -1
