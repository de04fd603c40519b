"""`kplab doctor` on a machine whose tools refuse: real rules in real namespaces, with a fake tool first on PATH."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kplab.session.sandbox.check import Check
from kplab.session.sandbox.modes_check import mode_checks

pytestmark = pytest.mark.kernel


def checked(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str = "", script: str = "") -> dict[str, Check]:
    """Return the checks by name, where `name` is another program than it was."""
    if name:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    found = {check.name: check for check in mode_checks()}
    if "no namespace" in found["iptables mode"].found:
        pytest.skip(f"no namespaces here: {found['iptables mode'].found}")
    return found


def test_this_kernel_takes_every_rule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The rules that are tried are right: where labs run, none is refused."""
    found = checked(monkeypatch, tmp_path)

    assert [check for check in found.values() if not check.ok] == []


def test_an_nft_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its own version."""
    old = "nftables v0.9.0 (Fearless Fosdick)"
    check = checked(monkeypatch, tmp_path, "nft", f'echo "{old}"')["nftables mode"]

    assert check.found == f"nftables mode wants version 1.0.1 or later, and this is {old}"


@pytest.mark.parametrize(
    ("program", "part", "module", "mode", "said"),
    [
        ("nft", "numgen", "nft_numgen", "nftables mode", "Error: Could not process rule: No such file or directory"),
        ("iptables-nft", "statistic", "xt_statistic", "iptables mode", "Extension statistic revision 0 not supported"),
    ],
)
def test_a_missing_module_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, part: str, module: str, mode: str, said: str
) -> None:
    """A kernel without it refuses the rules that need it, and no other; what the tool says is told verbatim."""
    version = 'case "$*" in *--version*) echo "nftables v1.0.6";; esac'
    script = f'{version}; case "$*" in *{part}*) echo "{said}" >&2; exit 1;; esac'
    found = checked(monkeypatch, tmp_path, program, script)

    assert found[mode].found == f"refused without {module}: {said}"
    assert sum(not check.ok for check in found.values()) == 1
