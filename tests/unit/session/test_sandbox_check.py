"""What this machine lacks for a lab, and the command that mends it; and the names of kept labs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from kplab.errors import UnknownNameError, UsageError
from kplab.session.base import LabPlan
from kplab.session.labs import KeptLab, connect_lab, list_labs, start_kept_lab
from kplab.session.sandbox.check import Unavailable, can_run, checks, explain

pytestmark = pytest.mark.unit


def works(argv: Sequence[str]) -> str | None:
    """A machine on which everything works."""
    return None


def forbids(argv: Sequence[str]) -> str | None:
    """A kernel that forbids user namespaces, and a user who is not root."""
    return "unshare: unshare failed: Operation not permitted"


@pytest.fixture(autouse=True)
def everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every program is found, and we are a plain user."""
    monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/usr/sbin/{name}")
    monkeypatch.setattr("os.geteuid", lambda: 1000)


def test_a_machine_that_can(tmp_path: Path) -> None:
    """Nothing lacking: None, and every check is ok."""
    assert can_run(works, tmp_path) is None
    assert all(each.ok for each in checks(works, tmp_path))


@pytest.mark.parametrize(
    ("file", "value", "command"),
    [
        ("sys/user/max_user_namespaces", "0\n", "sudo sysctl -w user.max_user_namespaces=15000"),
        ("sys/kernel/unprivileged_userns_clone", "0\n", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            "sys/kernel/apparmor_restrict_unprivileged_userns",
            "1\n",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("sys/kernel/nothing", "", "run it as root: sudo kplab …"),
    ],
)
def test_the_switch_that_forbids_is_named(tmp_path: Path, file: str, value: str, command: str) -> None:
    """The kernel's switch against user namespaces is found, and the command is exact."""
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(value)

    lacking = can_run(forbids, tmp_path)

    assert lacking == Unavailable("namespaces: unshare: unshare failed: Operation not permitted", command)


def test_root_does_without_a_user_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root the second way counts."""
    monkeypatch.setattr("os.geteuid", lambda: 0)

    def only_plain(argv: Sequence[str]) -> str | None:
        return "unshare failed" if "--user" in argv else None

    assert can_run(only_plain, tmp_path) is None


def test_a_missing_program_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's Debian package stands in the command."""
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if name == "conntrack" else "/bin/x")

    assert can_run(works, tmp_path) == Unavailable("conntrack: not found", "apt-get install conntrack")


def test_the_error_says_what_ways_remain() -> None:
    """A lab that cannot be started leaves replay and rules, and the message says so."""
    error = explain(["unshare failed: Operation not permitted", "no"])

    assert "Operation not permitted" in error.happened
    assert "kplab replay" in error.hint


def test_labs_are_listed_by_this_users_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only listening sockets of this user's labs count."""
    monkeypatch.setattr("os.getuid", lambda: 1000)
    listing = tmp_path / "unix"
    listing.write_text(
        "Num       RefCount Protocol Flags    Type St Inode Path\n"
        "0000000000000000: 00000002 00000000 00010000 0001 01 1 @kplab-1000-default\n"
        "0000000000000000: 00000003 00000000 00000000 0001 03 2 @kplab-1000-connected\n"
        "0000000000000000: 00000002 00000000 00010000 0001 01 3 @kplab-0-roots\n"
        "0000000000000000: 00000002 00000000 00010000 0001 01 4 /run/other.sock\n"
        "0000000000000000: 00000002 00000000 00010000 0001 01 5 @kplab-1000-second\n"
        "0000000000000000: 00000002 00000000 00000000 0002 01 6\n"
    )

    assert list_labs(listing) == (KeptLab("default"), KeptLab("second"))


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a b", "a/b", "a" * 41, "ä", "a\0b"])
def test_names_that_cannot_be_typed_are_refused(name: str) -> None:
    """A lab's name is small letters, digits and hyphens."""
    with pytest.raises(UsageError):
        connect_lab(name)
    with pytest.raises(UsageError):
        start_kept_lab(name, LabPlan(manifest=""))


def test_a_lab_that_is_not_there_is_named() -> None:
    """Connecting to no lab says how to build one, or, where there are others, their names."""
    others = ", ".join(lab.name for lab in list_labs())
    with pytest.raises(UnknownNameError, match=others or "kplab lab up"):
        connect_lab("there-is-none-of-this-name")
