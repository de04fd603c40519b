"""Lesson 3 on the screen and on this machine's kernel: a scripted student works through it by keys."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from kplab.course.engine import LessonRun
from kplab.course.live_parts import lab_plan, start_lab_live, tell_live
from kplab.course.load import load_lesson, solution_answers
from kplab.errors import SandboxError
from kplab.session.base import Report, Session
from kplab.tui.app import KplabApp
from kplab.tui.screens.lesson import LessonScreen

pytestmark = [pytest.mark.tui, pytest.mark.timeout(240)]

LIMIT = 30.0
"""Seconds that any one thing may take."""


class Student:
    """Presses keys, and waits for what they bring."""

    def __init__(self, app: KplabApp, run: LessonRun, pilot: Pilot[int]) -> None:
        self.app, self.run, self.pilot = app, run, pilot

    @property
    def screen(self) -> LessonScreen:
        """The lesson's screen."""
        return next(s for s in self.app.screen_stack if isinstance(s, LessonScreen))

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds."""
        end = time.monotonic() + LIMIT
        while not holds():
            assert time.monotonic() < end, f"waited {LIMIT:g} s for {what}"
            assert self.app.failure is None, self.app.failure
            await self.pilot.pause(0.02)

    async def press(self, *keys: str) -> None:
        """Press keys, and wait until the lab has answered."""
        for key in keys:
            await self.pilot.press(key)
        await self.until(lambda: not self.screen.desk.busy, "the lab")
        await self.pilot.pause()

    async def send(self) -> None:
        """Send what is in the prompt, and go to the journey's end."""
        before = self.screen.desk.journey
        await self.press("slash", "enter")
        await self.until(lambda: self.screen.desk.journey is not before, "the journey")
        assert not self.screen.desk.frame().banners
        await self.press("end")

    async def repair(self) -> None:
        """Mend what is broken with the author's own commands, and have it checked."""
        repair = self.run.step.repair
        assert repair is not None
        await self.press("x")
        assert not self.run.state.passed
        done = self.screen.desk.session.execute(repair.node, ("sh", "-s"), stdin=repair.solution.text)
        assert done.status == 0, done.stderr
        await self.press("x")


async def test_a_scripted_student_finishes_lesson_3_on_a_real_kernel() -> None:
    """Every step is passed by what this kernel did; the screen says that the lesson is finished."""
    lesson = load_lesson("lesson-3")
    answers = solution_answers(lesson)
    run = LessonRun(lesson, None, time.time)
    made: list[Session] = []

    def start(report: Report) -> Session:
        made.append(start_lab_live()(lab_plan(lesson), report))
        return made[0]

    app = KplabApp(tell_live(), start=start, run=run, manifest=lesson.manifest)
    try:
        async with app.run_test(size=(120, 36)) as pilot:
            student = Student(app, run, pilot)
            await student.until(lambda: bool(made) or app.failure is not None, "the lab")
            if isinstance(app.failure, SandboxError):
                pytest.skip(f"no lab can be started here: {app.failure}")
            await student.until(lambda: any(isinstance(s, LessonScreen) for s in app.screen_stack), "the screen")
            await student.press()
            for step in lesson.steps:
                assert run.step.id == step.id
                if step.question is not None:
                    ids = [choice.id for choice in step.question.choices]
                    await student.press(str(ids.index(answers[step.id]) + 1))
                    await student.send()
                elif step.kind == "send":
                    for _ in range(60):
                        if not run.state.passed:
                            await student.send()
                elif step.kind == "repair":
                    await student.repair()
                assert run.can_advance, (step.id, run.state.verdict)
                await student.press("n")
            assert run.finished
            assert not student.screen.desk.trouble
    finally:
        app.feed.close()
