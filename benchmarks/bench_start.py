"""How quickly the command line answers, and the screen paints."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure, seconds

KPLAB = str(Path(sys.executable).with_name("kplab"))


def run(*arguments: str) -> None:
    """Run kplab and wait."""
    subprocess.run([KPLAB, *arguments], check=True, capture_output=True)


def measure() -> Iterator[Figure]:
    """Yield the start-up times; an interpreter alone stands beside them."""
    bare = seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True), rounds=5)
    yield Figure("python, nothing more", bare, "s")
    package = seconds(lambda: subprocess.run([sys.executable, "-c", "import kplab"], check=True), rounds=5)
    yield Figure("import kplab", package, "s", 0.3)
    yield Figure("kplab --version", seconds(lambda: run("--version"), rounds=5), "s", 0.15)
    yield Figure("kplab --help", seconds(lambda: run("--help"), rounds=5), "s", 0.3)
    yield Figure("kplab lessons", seconds(lambda: run("lessons"), rounds=5), "s", 0.5)
