"""`kplab play`: the screen on a lab of one's own, without a lesson."""

from __future__ import annotations

from pathlib import Path

from kplab.session.base import LabPlan
from kplab.trace.recording import Backend


def play(manifest: Path | None, *, mode: str, backend: Backend, sandbox: str = "auto") -> int:
    """Show a lab to play in; returns the exit status.

    Raises:
        ManifestError: the manifest cannot be read; told before anything is drawn or built.
        UsageError: there is no terminal to draw on. KplabError: the lab could not be built, as the screen said.
    """
    from kplab.cli.lab import read_manifest
    from kplab.tui.run import run_play

    return run_play(LabPlan(manifest=read_manifest(manifest), mode=mode, backend=backend, sandbox=sandbox))
