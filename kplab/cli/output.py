"""Where a command's answer goes: to standard output, or to a file that was named."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from kplab.errors import UsageError


def check_output(output: Path | None) -> None:
    """Refuse a file that cannot be written before the work is done, not after: what was seen would be lost.

    Raises:
        UsageError: there is no such folder, or no right to write there.
    """
    if output is None:
        return
    folder = output.parent
    if not folder.is_dir() or not os.access(output if output.exists() else folder, os.W_OK) or output.is_dir():
        raise UsageError(
            f"{output} cannot be written", "no such folder, or no right to write there", "Name another file"
        )


def put(output: Path | None, data: bytes) -> None:
    """Write to the file, and say so on standard error; without one, to standard output.

    Raises:
        UsageError: the file cannot be written.
    """
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        output.write_bytes(data)
    except OSError as problem:
        raise UsageError(
            f"{output} cannot be written", problem.strerror or str(problem), "Choose another file"
        ) from None
    typer.echo(f"written: {output}", err=True)
