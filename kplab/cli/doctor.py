"""`kplab doctor`: what this machine can run, why not, and the exact command that mends it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator

import typer

from kplab import __version__
from kplab.cli.report import ExitCode
from kplab.session.sandbox.check import OTHER_WAYS, Check, can_run, checks, ebpf_check
from kplab.session.sandbox.microvm_check import can_run_microvm, microvm_checks

SMALLEST = (60, 20)
"""Columns and rows below which the screen cannot be drawn."""


def doctor(*, as_json: bool) -> ExitCode:
    """Print every check; the status is 0 when a lab can be started here, and 3 when not."""
    looked_at = [*checks(), *microvm_checks(), ebpf_check(), *_terminal()]
    lacking = can_run()
    if as_json:
        typer.echo(json.dumps(_document(looked_at, can_start=lacking is None), indent=2))
    else:
        for line in _lines(looked_at):
            typer.echo(line)
        verdict = "a lab can be started here" if lacking is None else f"no lab can be started here: {lacking.reason}"
        typer.echo(f"\n{verdict}")
        no_guest = can_run_microvm()
        if no_guest is not None:
            typer.echo(f"no guest (--sandbox microvm, for ipvs mode) can be started here: {no_guest.reason}")
        if lacking is not None:
            if lacking.mend:
                typer.echo(f"mend it with: {lacking.mend}")
            typer.echo(OTHER_WAYS)
    return ExitCode.OK if lacking is None else ExitCode.SANDBOX


def _terminal() -> Iterator[Check]:
    """Yield what matters to the screen only; nothing here keeps a lab from starting."""
    if not sys.stdout.isatty():
        yield Check("terminal", ok=True, found="output is not a terminal: lessons run with --plain")
        return
    columns, rows = shutil.get_terminal_size()
    large_enough = columns >= SMALLEST[0] and rows >= SMALLEST[1]
    mend = "" if large_enough else f"make the window at least {SMALLEST[0]}x{SMALLEST[1]}, or use --plain"
    yield Check("terminal", ok=large_enough, found=f"{columns}x{rows}", mend=mend)
    encoding = (sys.stdout.encoding or "").lower()
    can_draw = encoding.replace("-", "") == "utf8"
    yield Check("characters", ok=can_draw, found=encoding, mend="" if can_draw else "export LC_ALL=C.UTF-8")
    colour = "switched off by NO_COLOR" if "NO_COLOR" in os.environ else os.environ.get("TERM", "unknown terminal")
    yield Check("colour", ok=True, found=colour)


def _lines(looked_at: list[Check]) -> Iterator[str]:
    yield f"kplab {__version__}, Python {platform.python_version()}, {platform.platform()}"
    for check in looked_at:
        yield f"  {'ok ' if check.ok else 'NO '} {check.name:<26} {check.found}"
        if check.mend:
            yield f"      {'':<26} mend: {check.mend}"


def _document(looked_at: list[Check], *, can_start: bool) -> dict[str, object]:
    return {
        "kplab": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "sandboxes": {"namespaces": can_start, "microvm": can_run_microvm() is None},
        "checks": [{"name": c.name, "ok": c.ok, "found": c.found, "mend": c.mend} for c in looked_at],
    }
