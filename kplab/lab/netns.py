"""Network namespaces of the lab: making, naming and entering them.

They are bound under /run/netns, which is a tmpfs in the lab's own mount namespace: `ip netns exec node-a …` finds
them in the lab's shells, and nothing of them is on the machine's disk. Entering is `setns(2)` of the calling
thread; the agent has only one.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kplab.errors import LabError, UnknownNameError

CLONE_NEWNET = 0x40000000
"""linux/sched.h."""
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 2, 4, 8, 4096
"""linux/mount.h."""
RUN = Path("/run")
NAMES = RUN / "netns"
STATE = RUN / "kplab"
"""The lab's own files: manifest, configuration."""

_libc = ctypes.CDLL(None, use_errno=True)


def mount_run() -> None:
    """Put a tmpfs over /run, and make the lab's folders in it. Only in a mount namespace of one's own.

    Raises:
        LabError: the kernel refused the mount.
    """
    _mount("tmpfs", str(RUN), "tmpfs", MS_NOSUID | MS_NODEV)
    NAMES.mkdir(parents=True)
    STATE.mkdir()


class NetworkNamespaces:
    """The lab's network namespaces by name, each held open by a file descriptor."""

    def __init__(self) -> None:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._held: dict[str, int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of making."""
        return tuple(self._held)

    def descriptor(self, name: str) -> int:
        """Return the open file descriptor of a namespace.

        Raises:
            UnknownNameError: there is none of that name.
        """
        if name not in self._held:
            raise UnknownNameError(f"there is no {name!r} in this lab", hint=f"it has: {', '.join(self._held)}")
        return self._held[name]

    def create(self, name: str, sysctls: Mapping[str, str]) -> None:
        """Make a namespace, bind it to its name, and write its sysctls.

        Raises:
            LabError: the kernel refused.
        """
        _call("unshare", _libc.unshare(CLONE_NEWNET), f"make the network namespace {name}")
        try:
            self._held[name] = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            target = NAMES / name
            target.touch(0o444)
            _mount("/proc/self/ns/net", str(target), "", MS_BIND)
            write_sysctls(sysctls)
        finally:
            self._go(self._home, "return from a namespace")

    @contextmanager
    def entered(self, name: str) -> Iterator[None]:
        """Be in a namespace for a while: sockets opened and programs run meanwhile are in it.

        Raises:
            UnknownNameError: there is none of that name.
        """
        self._go(self.descriptor(name), f"enter the network namespace {name}")
        try:
            yield
        finally:
            self._go(self._home, "return from a namespace")

    def _go(self, descriptor: int, tried: str) -> None:
        _call("setns", _libc.setns(descriptor, CLONE_NEWNET), tried)


def enter_for_good(path: Path) -> None:
    """Move this thread into the namespace bound at `path`: for a child that stays there.

    Raises:
        LabError: the kernel refused.
        OSError: there is no such file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    _call("setns", _libc.setns(descriptor, CLONE_NEWNET), f"enter {path}")
    os.close(descriptor)


def write_sysctls(sysctls: Mapping[str, str]) -> None:
    """Write sysctls in the current network namespace; one that this kernel lacks is passed over.

    Raises:
        LabError: the kernel refused a value.
    """
    for name, value in sysctls.items():
        path = Path("/proc/sys", name.replace(".", "/"))
        try:
            path.write_text(value)
        except FileNotFoundError:
            # IPv6, or a part of netfilter, may be compiled out; the lab then works without it.
            continue
        except OSError as error:
            raise LabError(f"write the sysctl {name}={value}", error.strerror or str(error)) from error


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    status = _libc.mount(source.encode(), target.encode(), kind.encode(), flags, None)
    _call("mount", status, f"mount {source} on {target}")


def _call(name: str, status: int, tried: str) -> None:
    if status != 0:
        raise LabError(tried, f"{name}(2): {os.strerror(ctypes.get_errno())}")
