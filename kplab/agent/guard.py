"""Refuses to work anywhere but in namespaces made for a lab.

The launcher says which network and mount namespace are its own; the agent compares, and looks at what every kernel
tells about its first namespaces. All of it runs before the first thing is built.
"""

from __future__ import annotations

import os
from pathlib import Path

from kplab.errors import GuardError, ProtocolError
from kplab.protocol.messages import VERSION, Hello

_HINT = "kplab starts its agent itself, in namespaces of its own: kplab lab up, kplab trace …, kplab start lesson-3"


def refuse_foreign_namespaces(hello: Hello, proc: Path = Path("/proc"), pid: int | None = None) -> None:
    """Do nothing when this process is alone in namespaces of its own.

    Raises:
        ProtocolError: the launcher speaks another version.
        GuardError: these are the launcher's namespaces, or the machine's first ones.
    """
    if hello.version != VERSION:
        raise ProtocolError(
            "begin a lab",
            f"the launcher speaks version {hello.version} of the protocol, this agent {VERSION}",
            "run kplab and its agent from the same installation",
        )
    if (os.getpid() if pid is None else pid) != 1:
        raise _refusal("it is not the first process of a process namespace of its own")
    # Registered for the kernel's first network namespace only (net/core/sysctl_net_core.c).
    if (proc / "sys/net/core/netdev_budget").exists():
        raise _refusal("this is the machine's first network namespace")
    boot_id = (proc / "sys/kernel/random/boot_id").read_text().strip()
    if boot_id != hello.boot_id:
        # Another kernel, so another machine as far as namespaces go: their numbers cannot be compared.
        return
    for kind, host in (("net", hello.host_netns), ("mnt", hello.host_mntns)):
        if host and (proc / f"self/ns/{kind}").stat().st_ino == host:
            raise _refusal(f"its {kind} namespace is the launcher's own ({host})")


def _refusal(happened: str) -> GuardError:
    return GuardError("the agent does not touch namespaces that are not a lab's own", happened, _HINT)
