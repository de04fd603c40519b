"""Refuses to write rules into the network namespace that the machine started with.

How that namespace is told from all others:

* Part of `net.core` is registered for the first namespace only (`net_core_table` in net/core/sysctl_net_core.c;
  `netdev_budget` is one of them, since 2.6): /proc/sys/net shows the reader's own namespace, so where
  that file can be seen, we are in the first.
* In the first PID namespace, whose inode number is a constant of the kernel (`PROC_PID_INIT_INO`), pid 1 is
  the machine's init; sharing its network namespace is sharing the host's. In any other PID namespace pid 1 is
  the lab's or a container's, and says nothing.

Either alone is enough to refuse. Where neither can be read we refuse as well.
"""

from __future__ import annotations

from pathlib import Path

from kplab.errors import GuardError

FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""`PROC_PID_INIT_INO` of include/linux/proc_ns.h."""

_HINT = "run kplab-proxy inside a lab (kplab lab shell NODE), or in a namespace of its own: unshare -n kplab-proxy …"


def refuse_host_namespace(proc: Path = Path("/proc")) -> None:
    """Do nothing in a namespace of our own.

    Raises:
        GuardError: this is the host's first network namespace, or nothing tells whether it is.

    """
    tried = "refused to write rules into the host's own network namespace"
    core = proc / "sys/net/core"
    if not (core / "somaxconn").exists():
        raise GuardError(tried, f"{core} cannot be read, so which namespace this is cannot be told", _HINT)
    if (core / "netdev_budget").exists():
        raise GuardError(tried, f"this is it, for {core}/netdev_budget exists in that one only", _HINT)
    if _shares_with_init(proc):
        raise GuardError(tried, f"this is it, for this process shares {proc}/1/ns/net with the machine's init", _HINT)


def _shares_with_init(proc: Path) -> bool:
    try:
        if (proc / "self/ns/pid").stat().st_ino != FIRST_PID_NAMESPACE:
            return False
        mine, init = (proc / "self/ns/net").stat(), (proc / "1/ns/net").stat()
    except OSError:
        return False
    return (mine.st_dev, mine.st_ino) == (init.st_dev, init.st_ino)
