"""What is installed holds everything that runs: lessons, styles, types."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kplab.session.sandbox.container_image import lay_out_source

pytestmark = pytest.mark.architecture

ROOT = Path(__file__).parents[2]
SHIPPED = [
    "kplab/py.typed",
    "kplab/tui/kplab.tcss",
    "kplab/lessons/cluster.yaml",
    "kplab/lessons/03-packet-path/lesson.toml",
    "kplab/lessons/03-packet-path/steps/01-address.md",
    "kplab/lessons/03-packet-path/solution/repair.sh",
    "kplab/notebooks/01-the-packet-path.ipynb",
    "kplab/notebooks/04-five-modes.ipynb",
    "kplab/jupyter/static/widget.js",
    "kplab/containers/Containerfile",
    "kplab/containers/source/pyproject.toml",
    "kplab/containers/source/requirements/run.txt",
]


def built(source: Path, folder: Path) -> zipfile.ZipFile:
    """Build the wheel of a source tree, and open it."""
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(argv, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_what_runs_and_no_tests(tmp_path: Path) -> None:
    """The built wheel has the lessons and the screen's styles, the three programs, and none of the tests."""
    with built(ROOT, tmp_path) as wheel:
        names = set(wheel.namelist())
        entry_points = wheel.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()

    assert set(SHIPPED) <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
    assert all(f"{program} = " in entry_points for program in ("kplab", "kplab-agent", "kplab-proxy"))


def test_an_installed_kplab_builds_the_same_wheel(tmp_path: Path) -> None:
    """What an image is built from is in the wheel: laid out again, it gives a wheel of the same files."""
    with built(ROOT, tmp_path / "first") as wheel:
        wheel.extractall(tmp_path / "site")
        names = set(wheel.namelist())
    (tmp_path / "source").mkdir()
    lay_out_source(tmp_path / "source", tmp_path / "site/kplab")

    with built(tmp_path / "source", tmp_path / "second") as again:
        assert set(again.namelist()) == names
