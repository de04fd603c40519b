"""Lessons 12 and 13 on this machine's kernel: a student finishes each, line by line and on the screen.

Lesson 7 needs IPVS, and so a guest: tests/vm/test_lesson_7.py.
"""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from kplab.course.engine import LessonRun
from kplab.course.live_parts import lab_plan, start_lab_live, tell_live
from kplab.course.load import load_lesson
from kplab.course.plain import run_plain
from kplab.session.base import Report, Session
from kplab.tui.app import KplabApp
from kplab.tui.screens.lesson import LessonScreen
from tests.lessons.student import MENDINGS, SENDS_AT_MOST, Mending, PlainStudent, assert_finished, wrong_and_right
from tests.tui.test_live_lesson import LIMIT, Student

pytestmark = [pytest.mark.lessons, pytest.mark.timeout(300)]

LESSONS = ("lesson-12", "lesson-13")
PROMPT = b"READY> "


@pytest.mark.parametrize("name", LESSONS)
def test_a_student_finishes_the_lesson_over_the_plain_face(name: str, own_state: Path) -> None:
    """Each prediction wrong once, then right; the repair typed line by line in a shell on node-a."""
    lesson = load_lesson(name)
    screen = io.StringIO()
    assert run_plain(name, None, PlainStudent(lesson, screen), screen) == 0
    assert_finished(lesson, screen.getvalue())


class ScreenStudent(Student):
    """Works by keys, and mends in a terminal of the lab's own."""

    async def repair(self) -> None:
        """Have it checked, type what mends it, have it checked again."""
        await self.press("x")
        assert not self.run.state.passed
        type_in_shell(self.screen.desk.session, MENDINGS[self.run.lesson.id, self.run.step.id]())
        await self.press("x")

    async def step(self) -> None:
        """Do the current step."""
        step = self.run.step
        if step.question is not None:
            wrong, right = wrong_and_right(self.run.lesson, step)
            await self.press(str(wrong))
            await self.send()
            assert not self.run.state.passed, (step.id, self.run.state.verdict)
            await self.press(str(right))
            await self.send()
        elif step.kind == "send":
            for _ in range(SENDS_AT_MOST):
                if not self.run.state.passed:
                    await self.send()
        elif step.kind == "repair":
            await self.repair()


def type_in_shell(session: Session, mending: Mending) -> None:
    """Type a mending's lines in a shell on node-a, each when the prompt has come."""
    shell = session.shell("node-a", 200, 50)
    seen = b""

    def until_prompt() -> str:
        nonlocal seen
        end = time.monotonic() + LIMIT
        while not seen.rstrip(b" ").endswith(PROMPT.rstrip(b" ")):
            assert time.monotonic() < end, seen
            seen += shell.read(1.0)
        printed, seen = seen.decode(), b""
        return printed

    shell.write(b"PS1='READY''> '; stty -echo\n")
    until_prompt()
    line = next(mending)
    while line:
        shell.write(f"{line}\n".encode())
        try:
            line = mending.send(until_prompt())
        except StopIteration:
            line = ""
    shell.close()


@pytest.mark.parametrize("name", LESSONS)
async def test_a_student_finishes_the_lesson_on_the_screen(name: str) -> None:
    """Every step is passed by what this kernel did; the repair is typed in the lab's own shell."""
    lesson = load_lesson(name)
    run = LessonRun(lesson, None, time.time)
    made: list[Session] = []

    def start(report: Report) -> Session:
        made.append(start_lab_live()(lab_plan(lesson), report))
        return made[0]

    app = KplabApp(tell_live(), start=start, run=run, manifest=lesson.manifest)
    try:
        async with app.run_test(size=(120, 36)) as pilot:
            student = ScreenStudent(app, run, pilot)
            await student.until(lambda: any(isinstance(s, LessonScreen) for s in app.screen_stack), "the screen")
            await student.press()
            for step in lesson.steps:
                assert run.step.id == step.id
                await student.step()
                assert run.can_advance, (step.id, run.state.verdict)
                await student.press("n")
            assert run.finished
            assert not student.screen.desk.trouble
    finally:
        app.feed.close()
