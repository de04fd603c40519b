"""`kplab replay`: a recorded journey again, on the screen or as lines."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from kplab.cli.report import ExitCode
from kplab.trace.file import read_trace
from kplab.trace.journey import tell
from kplab.trace.text import journey_lines


def replay(file: Path, *, plain: bool, unfold: bool) -> ExitCode | int:
    """Play a trace file; without a terminal it is told line by line."""
    recording = read_trace(file)
    if plain or not sys.stdout.isatty():
        facts = recording.facts
        typer.echo(f"recorded {facts.taken_at} on Linux {facts.kernel} by kplab {facts.kplab}; not live")
        for line in journey_lines(tell(recording), unfold=unfold):
            typer.echo(line)
        return ExitCode.OK
    from kplab.tui.run import run_replay

    return run_replay(recording)
