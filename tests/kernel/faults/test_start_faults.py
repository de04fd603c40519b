"""A lab whose tools or kernel refuse kube-proxy's rules: one message that names what is lacking."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kplab.cli.report import ExitCode

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

DOCTOR = "kplab doctor names what this kernel or its tools lack; a guest has a kernel of its own: --sandbox microvm"


def trace(folder: Path, mode: str, program: str, script: str) -> subprocess.CompletedProcess[str]:
    """Trace one connection where `program` is a script, in which "$real" is the program itself."""
    real = shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if real is None:
        pytest.skip(f"{program} is not installed")
    (folder / program).write_text(f"#!/bin/sh\nreal={real}\n{script}\n")
    (folder / program).chmod(0o755)
    argv = [sys.executable, "-m", "kplab.cli.main", "trace", "--mode", mode, "http://10.96.0.42/"]
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == ExitCode.SANDBOX:
        pytest.skip(f"no lab can be started here: {done.stderr}")
    return done


def test_an_nft_that_is_too_old_is_named(tmp_path: Path) -> None:
    """Its version, the one that kube-proxy wants, and the way on; before any rule is written."""
    old = "nftables v0.9.8 (E.D.S.)"
    done = trace(tmp_path, "nftables", "nft", f'[ "$1" = --version ] && exec echo "{old}"; exec $real "$@"')

    assert (done.returncode, done.stdout) == (ExitCode.LAB, "")
    assert f"nftables mode wants version 1.0.1 or later, and this is {old}" in done.stderr
    assert "use mode iptables" in done.stderr


@pytest.mark.parametrize(
    ("mode", "program", "part", "said"),
    [
        ("nftables", "nft", "numgen random", "Error: Could not process rule: No such file or directory"),
        (
            "iptables",
            "iptables-nft-restore",
            "-m statistic",
            "Extension statistic revision 0 not supported, missing kernel module?",
        ),
    ],
)
def test_a_rule_that_the_kernel_has_no_module_for_is_told(
    tmp_path: Path, mode: str, program: str, part: str, said: str
) -> None:
    """The tool's own words, and the command that names what is missing."""
    script = (
        f'text=$(cat); case "$text" in *"{part}"*) echo "{said}" >&2; exit 1;; esac; '
        'printf "%s\\n" "$text" | exec $real "$@"'
    )
    done = trace(tmp_path, mode, program, script)

    assert (done.returncode, done.stdout) == (ExitCode.LAB, "")
    assert said in done.stderr
    assert DOCTOR in done.stderr
    assert "Traceback" not in done.stderr
