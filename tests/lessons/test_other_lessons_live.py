"""Every lesson proves itself on a real lab of its own mode."""

from __future__ import annotations

import pytest

from kplab.course.author import check_lesson
from kplab.course.load import list_lessons

pytestmark = [pytest.mark.lessons, pytest.mark.timeout(400)]

ELSEWHERE = {"lesson-3", "lesson-7"}
"""Proved in files of their own, with a student who finishes them: test_lesson_3_live, tests/vm/test_lesson_7."""


@pytest.mark.parametrize("name", [info.id for info in list_lessons() if info.id not in ELSEWHERE])
def test_the_authors_check_proves_the_lesson(name: str) -> None:
    """Each question has one right answer; a repair's start fails, its solution passes, wrong answers fail."""
    report = check_lesson(name, live=True)

    assert report.passed, "\n".join(line for line in report.lines if not line.startswith("ok"))
