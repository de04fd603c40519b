"""Which namespaces are refused, on pretended /proc trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.errors import GuardError
from kplab.proxy.guard import refuse_host_namespace

pytestmark = pytest.mark.unit


def proc(folder: Path, *sysctls: str) -> Path:
    """Make a /proc whose net.core holds some sysctls."""
    core = folder / "sys/net/core"
    core.mkdir(parents=True)
    for name in sysctls:
        (core / name).touch()
    return folder


def test_a_namespace_of_our_own_is_accepted(tmp_path: Path) -> None:
    """It has net.core, without what the first namespace alone has."""
    refuse_host_namespace(proc(tmp_path, "somaxconn"))


def test_the_first_namespace_is_refused(tmp_path: Path) -> None:
    """netdev_budget is registered for that one only."""
    with pytest.raises(GuardError, match="netdev_budget"):
        refuse_host_namespace(proc(tmp_path, "somaxconn", "netdev_budget"))


def test_what_cannot_be_told_is_refused(tmp_path: Path) -> None:
    """Without /proc/sys nothing says which namespace this is."""
    with pytest.raises(GuardError, match="cannot be told"):
        refuse_host_namespace(tmp_path)


def test_sharing_with_init_in_the_first_pid_namespace_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pid 1 is then the machine's own; in another PID namespace it says nothing."""
    made = proc(tmp_path, "somaxconn")
    for pid in ("self", "1"):
        (made / pid / "ns").mkdir(parents=True)
    (made / "self/ns/pid").touch()
    (made / "1/ns/net").touch()
    (made / "self/ns/net").hardlink_to(made / "1/ns/net")

    refuse_host_namespace(made)

    monkeypatch.setattr("kplab.proxy.guard.FIRST_PID_NAMESPACE", (made / "self/ns/pid").stat().st_ino)
    with pytest.raises(GuardError, match="machine's init"):
        refuse_host_namespace(made)
