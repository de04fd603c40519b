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
from kplab.session.sandbox.check import OTHER_WAYS, Check, Unavailable, can_run, checks, ebpf_check
from kplab.session.sandbox.container_check import container_checks
from kplab.session.sandbox.container_image import IPVS
from kplab.session.sandbox.microvm_check import can_run_microvm, microvm_checks
from kplab.session.sandbox.modes_check import mode_checks

SMALLEST = (60, 20)
"""Columns and rows below which the screen cannot be drawn."""


def doctor(*, as_json: bool) -> ExitCode:
    """Print every check; the status is 0 when a lab can be started here, and 3 when not."""
    in_containers = container_checks()
    looked_at = [*checks(), *mode_checks(), *microvm_checks(), ebpf_check(), *in_containers, *_terminal()]
    lacking = can_run()
    can_contain = all(check.ok for check in in_containers if IPVS not in check.name)
    if as_json:
        document = _document(looked_at, can_start=lacking is None, can_contain=can_contain)
        typer.echo(json.dumps(document, indent=2))
    else:
        for line in (*_lines(looked_at), "", *_verdict(lacking, in_containers, can_contain=can_contain)):
            typer.echo(line)
    return ExitCode.OK if lacking is None or can_contain else ExitCode.SANDBOX


def _verdict(lacking: Unavailable | None, in_containers: tuple[Check, ...], *, can_contain: bool) -> Iterator[str]:
    """Say which sandboxes can be had, and why not the others."""
    if lacking is None:
        yield "a lab can be started here"
    elif can_contain:
        yield f"a lab starts in a container here, since namespaces do not do: {lacking.reason}"
    else:
        yield f"no lab can be started here: {lacking.reason}"
    no_guest = can_run_microvm()
    if no_guest is not None:
        yield f"no guest (--sandbox microvm, for ipvs mode) can be started here: {no_guest.reason}"
    if not can_contain:
        first = next(check for check in in_containers if not check.ok)
        yield f"no container (--sandbox container) can be started here: {first.found}"
    if lacking is not None and not can_contain:
        mends = [lacking.mend, *(check.mend for check in in_containers if not check.ok and IPVS not in check.name)]
        yield from (f"mend it with: {mend}" for mend in mends if mend)
        yield OTHER_WAYS


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


def _document(looked_at: list[Check], *, can_start: bool, can_contain: bool) -> dict[str, object]:
    return {
        "kplab": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "sandboxes": {"namespaces": can_start, "microvm": can_run_microvm() is None, "container": can_contain},
        "checks": [{"name": c.name, "ok": c.ok, "found": c.found, "mend": c.mend} for c in looked_at],
    }
