"""`kplab start`, `kplab lessons`, `kplab lesson check`."""

from __future__ import annotations

import os
import sys

import typer

from kplab.cli.report import ExitCode
from kplab.errors import UsageError
from kplab.trace.recording import Backend


def start(name: str, *, plain: bool, backend: Backend | None, sandbox: str = "auto") -> ExitCode | int:
    """Start a lesson on the screen, or line by line."""
    from kplab.course.load import load_lesson

    load_lesson(name)  # an unknown name is told before anything is drawn or built
    if plain:
        return _start_plain(name, backend, sandbox)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "the screen needs a terminal", "input or output is a pipe or a file", f"kplab start {name} --plain"
        )
    from kplab.tui.run import run_lesson

    return run_lesson(name, backend or "", sandbox)


def _start_plain(name: str, backend: Backend | None, sandbox: str) -> ExitCode | int:
    from kplab.course.plain import run_plain

    return run_plain(name, backend, sys.stdin, sys.stdout, sandbox=sandbox)


def list_all() -> ExitCode:
    """List the lessons with their numbers, and how far the student has come."""
    from kplab.course.load import list_lessons, load_lesson
    from kplab.course.progress import ProgressStore, state_folder

    store = ProgressStore(state_folder(os.environ))
    for info in list_lessons():
        steps = load_lesson(info.id).steps
        kept = store.read(info.id).steps
        passed = sum(kept[step.id].passed for step in steps if step.id in kept)
        typer.echo(f"{info.id:<10} {info.title}   {passed} of {len(steps)} steps done")
        typer.echo(f"{'':<10} {info.summary}")
    return ExitCode.OK


def check(names: list[str], *, live: bool) -> ExitCode:
    """Check lessons, and print a line for each thing proved or not."""
    from kplab.course.author import check_lesson
    from kplab.course.load import list_lessons

    passed = True
    for name in names or [info.id for info in list_lessons()]:
        report = check_lesson(name, live=live)
        for line in report.lines:
            typer.echo(line)
        passed = passed and report.passed
    return ExitCode.OK if passed else ExitCode.FAILED
