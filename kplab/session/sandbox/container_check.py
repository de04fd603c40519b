"""Whether a lab can be started in a container on this machine, and what that will build or pull; for `kplab doctor`."""

from __future__ import annotations

import os
from collections.abc import Mapping

from kplab.errors import EngineError, ImageError, ImageMissingError, KplabError
from kplab.session.sandbox.check import Check
from kplab.session.sandbox.container_engine import RUN, Engine, find_engine
from kplab.session.sandbox.container_image import IPVS, LAB, MAKE, image_for, require_image, what_it_takes


def container_checks(environment: Mapping[str, str] = os.environ) -> tuple[Check, ...]:
    """Return the engine and the images as they are on this machine. Builds, pulls and starts nothing."""
    try:
        engine = find_engine(environment)
    except KplabError as error:
        return (Check("container: engine", ok=False, found=error.happened, mend=error.hint),)
    options = f", run with {' '.join(engine.run_options)} ({RUN})" if engine.run_options else ""
    found = Check("container: engine", ok=True, found=f"{engine.name}: {engine.version}{options}")
    return (found, *(_image(engine, stage, environment) for stage in (LAB, IPVS)))


def why_no_engine(environment: Mapping[str, str] = os.environ) -> str:
    """Return why no container engine can be used here, "" if one can."""
    try:
        find_engine(environment)
    except EngineError as error:
        return f"{error.tried}: {error.happened}"
    return ""


def _image(engine: Engine, stage: str, environment: Mapping[str, str]) -> Check:
    image = image_for(stage, environment)
    name = f"container: {stage} image"
    try:
        require_image(engine, image)
    except ImageMissingError:
        first = f"{image.name} is not here; the first lab that needs it will {what_it_takes(image)}, once you agree"
        return Check(name, ok=False, found=first, mend=f"{MAKE}{'' if stage == LAB else f' --stage {stage}'}")
    except (ImageError, EngineError) as error:
        return Check(name, ok=False, found=error.happened, mend=error.hint)
    return Check(name, ok=True, found=f"{image.name}")
