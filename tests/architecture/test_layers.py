"""Layers point one way, and what is pure stays loadable anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.architecture

ROOT = Path(__file__).parents[2]
PURE = ["kplab.model.loader", "kplab.modes.registry", "kplab.rules.iptables_save", "kplab.trace.journey", "kplab.scene"]
TOOLKITS = ["textual", "pyroute2", "scapy", "IPython", "typer"]


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the development set from the project's root."""
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def test_import_linter_finds_every_contract_kept() -> None:
    """The contracts of pyproject.toml hold."""
    done = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", PURE)
def test_pure_code_loads_no_toolkit(module: str) -> None:
    """In a fresh interpreter, pure modules bring in neither a screen nor netlink nor scapy."""
    code = f"import {module}, sys; print(*sorted({{m.split('.')[0] for m in sys.modules}} & set({TOOLKITS!r})))"

    done = run(sys.executable, "-c", code)

    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("kplab.session.live", ["kplab.agent", "kplab.lab", "kplab.capture", "kplab.proxy", "textual", "typer"]),
        ("kplab.course.engine", ["kplab.agent", "kplab.lab", "kplab.capture", "kplab.proxy", "textual", "typer"]),
        ("kplab.agent.main", ["kplab.scene", "kplab.course", "kplab.tui", "kplab.cli", "textual", "typer"]),
        ("kplab.proxy.main", ["kplab.scene", "kplab.course", "kplab.tui", "kplab.cli", "kplab.session", "textual"]),
    ],
)
def test_the_two_sides_do_not_load_each_other(module: str, forbidden: list[str]) -> None:
    """The user's side and the privileged side meet in the protocol only."""
    code = f"import {module}, sys; print(*sorted(set(sys.modules) & set({forbidden!r})))"

    done = run(sys.executable, "-c", code)

    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_ruff_and_mypy_are_content() -> None:
    """Lint, format and strict types hold over the code, its tests and its benchmarks."""
    bin_folder = Path(sys.executable).parent
    for argv in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
        done = run(str(bin_folder / argv[0]), *argv[1:])
        assert done.returncode == 0, done.stdout + done.stderr
