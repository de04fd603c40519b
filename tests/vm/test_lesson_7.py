"""Lesson 7 in a guest, which has IPVS: the author's proof, and a student who finishes it, in one lab."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from kplab.course.author import check_lesson
from kplab.course.live_parts import lab_plan
from kplab.course.load import load_lesson
from kplab.course.plain import run_plain
from kplab.errors import SandboxError
from kplab.session.base import LabPlan, Report
from kplab.session.live import LiveSession, start_lab
from tests.lessons.student import PlainStudent, assert_finished

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def lab(guest_cache: Path) -> Iterator[LiveSession]:
    """The lesson's lab, booted once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(guest_cache))
        try:
            session = start_lab(lab_plan(load_lesson("lesson-7")), lambda step: None)
        except SandboxError as error:
            pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(session, "close", lambda: None)  # two tests share it: neither may end it
        yield session
    session.close()


def test_a_student_finishes_the_lesson_over_the_plain_face(lab: LiveSession, own_state: Path) -> None:
    """Each prediction wrong once, then right; both repairs typed line by line in a shell on node-a."""
    lesson = load_lesson("lesson-7")
    screen = io.StringIO()

    def start(plan: LabPlan, report: Report) -> LiveSession:
        return lab

    assert run_plain("lesson-7", None, PlainStudent(lesson, screen), screen, start=start) == 0
    assert_finished(lesson, screen.getvalue())


def test_the_authors_check_proves_the_lesson(lab: LiveSession) -> None:
    """Each question has one right answer; both starts fail, the solutions pass, wrong answers fail."""
    report = check_lesson("lesson-7", live=True, start=lambda plan, told: lab)

    assert report.passed, "\n".join(line for line in report.lines if not line.startswith("ok"))
