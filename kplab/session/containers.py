"""An agent in a container, started and greeted."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping

from kplab.errors import EngineError, KplabError, ProtocolError, SandboxError
from kplab.protocol.messages import Progress
from kplab.session.base import Report
from kplab.session.channel import Channel
from kplab.session.sandbox.container import NAME, StartedContainer, Way, guest_way, start_container, ways
from kplab.session.sandbox.container_engine import RUN, Engine, find_engine
from kplab.session.sandbox.container_image import IPVS, LAB, Image, image_for, require_image
from kplab.session.stages import Stages

GREETING_LIMIT = 60.0
GUEST_LIMIT = 240.0
"""Seconds for a guest's start in the container: its boot, and its agent's, on an emulated processor."""
END_LIMIT = 2.0
_GUEST_MODES = ("ipvs",)

Greet = Callable[[Channel, float, Callable[[Progress], None]], None]


def greeted_container(
    greet: Greet, report: Report | None, why: str, mode: str, environment: Mapping[str, str] = os.environ
) -> tuple[StartedContainer, Channel, Report | None]:
    """Start a container and greet its agent; return both, and who is told the steps that follow.

    Raises:
        EngineError: there is no engine, or it refuses. ImageMissingError, ImageError: the image. SandboxError: the
            agent cannot start in the container; says what each way of starting it came to.
    """
    stages = Stages(report, time.monotonic())
    name = f"{NAME}: {why}"
    stages(name, False)
    engine = find_engine(environment)
    image = image_for(IPVS if mode in _GUEST_MODES else LAB, environment)
    require_image(engine, image)
    stages(name, True)
    in_guest = image.stage == IPVS
    failures: list[str] = []
    for way in (guest_way(),) if in_guest else ways(engine):
        step = f"agent in a container of {engine.kind}" + (", in a guest" if in_guest else "")
        stages(step, False)
        greeted = _greeted(greet, engine, image, way, stages, GUEST_LIMIT if in_guest else GREETING_LIMIT, failures)
        if greeted:
            stages(step, True)
            return *greeted, stages.shifted()
    raise _explained(engine, image, failures)


def _greeted(
    greet: Greet, engine: Engine, image: Image, way: Way, stages: Stages, limit: float, failures: list[str]
) -> tuple[StartedContainer, Channel] | None:
    """Start and greet in one way; None when it failed so that another way may still work.

    Raises:
        SandboxError: no other way would work either.
    """
    agent = start_container(engine, image, way)

    def progress(message: Progress) -> None:
        stages(message.step, message.done)

    with contextlib.ExitStack() as undo:
        undo.callback(agent.wait, END_LIMIT)
        channel = Channel(agent.wire, agent.last_words)
        undo.callback(channel.close)
        try:
            greet(channel, limit, progress)
        except ProtocolError as error:
            if not channel.gone and "version" in error.happened:
                raise SandboxError(
                    f"start a lab in a container of {engine.name}",
                    f"the image {image.name} holds another kplab: {error.happened}",
                    "make it anew: kplab doctor --build",
                ) from error
            failures.append(agent.last_words() or error.happened)
            if not agent.refused():
                raise _explained(engine, image, failures) from error
            return None
        undo.pop_all()
    return agent, channel


def _explained(engine: Engine, image: Image, failures: list[str]) -> KplabError:
    said = "; then, as root: ".join(failures)
    kind = (
        EngineError
        if not any(line.startswith(("unshare: ", "kplab-agent: ")) for line in said.splitlines())
        else SandboxError
    )
    return kind(
        f"start a lab in a container of {engine.name}, from the image {image.name}",
        said or "it ended at once",
        f"options that this machine's engine needs go into {RUN} (docs/containers.md); kplab doctor says more",
    )
