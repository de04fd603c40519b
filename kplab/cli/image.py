"""Building or pulling a container's image: `kplab doctor --build`, or after asking, when a lab needs it."""

from __future__ import annotations

import sys

import typer

from kplab.cli.report import ExitCode
from kplab.errors import ImageMissingError
from kplab.session.sandbox.container_engine import Engine, find_engine
from kplab.session.sandbox.container_image import Image, image_for, make_image, what_it_takes


def build(stage: str) -> ExitCode:
    """Build a stage's image, or pull the one that its variable names; prints what the engine prints.

    Raises:
        EngineError: there is no engine, or it refuses. ImageError: it failed.
    """
    _make(find_engine(), image_for(stage))
    return ExitCode.OK


def offer(missing: ImageMissingError) -> bool:
    """Ask whether a missing image shall be made, and make it; False where nobody can be asked, or the answer is no.

    Raises:
        EngineError, ImageError: as `build`.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    image = image_for(missing.stage)
    typer.echo(f"kplab: {missing.happened}", err=True)
    takes = what_it_takes(image)
    if not typer.confirm(f"{takes[0].upper()}{takes[1:]}, now?", default=True, err=True):
        return False
    _make(find_engine(), image)
    return True


def _make(engine: Engine, image: Image) -> None:
    typer.echo(f"{engine.name}: {what_it_takes(image)}: {image.name}", err=True)
    make_image(engine, image, lambda line: typer.echo(f"  {line}", err=True))
    typer.echo(f"{image.name} is there", err=True)
