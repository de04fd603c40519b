"""Run the benchmarks that are named, or all, and print a line a figure."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.figure import Figure


def main(names: list[str]) -> int:
    """Print every figure; return 1 when a limit is not kept."""
    found = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    kept = True
    for name in names or found:
        measure: Callable[[], Iterable[Figure]] = importlib.import_module(f"benchmarks.bench_{name}").measure
        for figure in measure():
            limit = "" if figure.limit is None else f"limit {figure.limit:g} {'ok' if figure.kept else 'NOT KEPT'}"
            print(f"{figure.name:<64} {figure.value:9.3f} {figure.unit:<4} {limit:<18} {figure.note}", flush=True)
            kept = kept and figure.kept
    return 0 if kept else 1


sys.exit(main(sys.argv[1:]))
