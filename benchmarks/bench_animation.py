"""What it costs to show a journey: CPU time for each second of animation, and the frames that were shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.figure import Figure
from kplab.model.journey import Journey
from kplab.model.packet import ClientSpec
from kplab.model.topology import Topology
from kplab.session.scripted import ScriptedSession
from kplab.trace.recording import Recording
from kplab.tui.app import KplabApp
from kplab.tui.screens.lesson import FRAMES_A_SECOND, LessonScreen

DATA = Path(__file__).parents[1] / "tests" / "data" / "scene"
SECONDS = 8.0
MOST_OF_A_CORE = 1 / 3


def _story() -> tuple[Journey, Recording, ScriptedSession]:
    journey = msgspec.json.decode((DATA / "journey.json").read_bytes(), type=Journey)
    topology = msgspec.json.decode((DATA / "topology.json").read_bytes(), type=Topology)
    session = ScriptedSession(topology, live=False)
    return journey, session.send(ClientSpec("curl", "http://10.96.0.42/"), "client"), session


async def _play(size: tuple[int, int]) -> tuple[float, float]:
    """Play for SECONDS at normal speed; return CPU seconds and frames, each for a second of animation."""
    journey, recording, session = _story()
    app = KplabApp(lambda one: journey, session=session, story=(journey, recording))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        screen = next(s for s in app.screen_stack if isinstance(s, LessonScreen))
        shown = 0
        tick = screen.tick

        def counted(now: float) -> None:
            nonlocal shown
            shown += 1
            tick(now)

        screen.tick = counted  # type: ignore[method-assign]  # counts the frames
        begun, used = time.perf_counter(), time.process_time()
        await asyncio.sleep(SECONDS)
        lasted = time.perf_counter() - begun
        return (time.process_time() - used) / lasted, shown / lasted


def measure() -> Iterator[Figure]:
    """Yield CPU time and frame rate on a usual and on a large screen."""
    for size in ((120, 36), (200, 50)):
        cpu, frames = asyncio.run(_play(size))
        name = f"animation {size[0]}x{size[1]}"
        yield Figure(f"{name}: CPU for each second", cpu, "s", MOST_OF_A_CORE)
        yield Figure(
            f"{name}: time for a frame", 1 / frames, "s", 1 / (FRAMES_A_SECOND * 0.9), f"{frames:.1f} a second"
        )
