"""The agent works only in namespaces that are a lab's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.agent.guard import refuse_foreign_namespaces
from kplab.errors import GuardError, ProtocolError
from kplab.protocol.messages import VERSION, Hello

pytestmark = pytest.mark.unit

BOOT = "5d1c7a1e-0000-4000-8000-000000000001"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc of a process in namespaces of its own."""
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text(BOOT + "\n")
    (tmp_path / "sys/net/core").mkdir(parents=True)
    (tmp_path / "self/ns").mkdir(parents=True)
    for kind in ("net", "mnt"):
        (tmp_path / "self/ns" / kind).touch()
    return tmp_path


def inode(proc: Path, kind: str) -> int:
    """The number of a namespace of that process."""
    return (proc / "self/ns" / kind).stat().st_ino


def test_namespaces_of_its_own_are_fine(proc: Path) -> None:
    """Another network and another mount namespace than the launcher's: nothing is raised."""
    refuse_foreign_namespaces(Hello(boot_id=BOOT, host_netns=1, host_mntns=2), proc, pid=1)


@pytest.mark.parametrize("kind", ["net", "mnt"])
def test_the_launchers_namespaces_are_refused(proc: Path, kind: str) -> None:
    """The launcher's own network or mount namespace is never touched."""
    numbers = {"net": 1, "mnt": 2, kind: inode(proc, kind)}
    hello = Hello(boot_id=BOOT, host_netns=numbers["net"], host_mntns=numbers["mnt"])

    with pytest.raises(GuardError, match=f"{kind} namespace is the launcher's own"):
        refuse_foreign_namespaces(hello, proc, pid=1)


def test_another_kernels_numbers_are_not_compared(proc: Path) -> None:
    """In a virtual machine a number may be the same by chance; the boot id tells that it means nothing."""
    hello = Hello(boot_id="another", host_netns=inode(proc, "net"), host_mntns=inode(proc, "mnt"))

    refuse_foreign_namespaces(hello, proc, pid=1)


def test_the_machines_first_network_namespace_is_refused(proc: Path) -> None:
    """Whatever the launcher says: where the kernel's first network namespace shows, nothing is touched."""
    (proc / "sys/net/core/netdev_budget").touch()

    with pytest.raises(GuardError, match="first network namespace"):
        refuse_foreign_namespaces(Hello(boot_id="another", host_netns=1), proc, pid=1)


def test_only_the_first_process_of_a_process_namespace_may_work(proc: Path) -> None:
    """Any other process could not be sure that everything dies with it."""
    with pytest.raises(GuardError, match="process namespace"):
        refuse_foreign_namespaces(Hello(boot_id=BOOT, host_netns=1), proc, pid=4711)


def test_another_version_is_refused(proc: Path) -> None:
    """A launcher of another version is told so."""
    with pytest.raises(ProtocolError, match="version"):
        refuse_foreign_namespaces(Hello(version=VERSION + 1, boot_id=BOOT, host_netns=1), proc, pid=1)
