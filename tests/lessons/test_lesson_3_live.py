"""Lesson 3 on this machine's kernel: the author's proof, and a student who works through it line by line."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kplab.course.author import check_lesson
from kplab.course.lesson import Lesson
from kplab.course.load import load_lesson, solution_answers
from kplab.course.plain import run_plain

pytestmark = [pytest.mark.lessons, pytest.mark.timeout(180)]

_EMPTY_CHAIN = re.compile(r"demo/web:http -> 10\.244\.2\.10:8080.* -j (KUBE-SEP-[A-Z0-9]{16})$", re.MULTILINE)


class Student(io.StringIO):
    """Types what a student would type, one line when one is asked for, and reads what has been printed so far."""

    def __init__(self, lesson: Lesson, screen: io.StringIO) -> None:
        super().__init__()
        self.lesson = lesson
        self.screen = screen
        self.lines = self.work()

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        """Return the next line to be typed, or nothing when the student has finished."""
        return next(self.lines, "")

    def work(self) -> Iterator[str]:
        """Work through every step."""
        answers = solution_answers(self.lesson)
        for step in self.lesson.steps:
            if step.question is not None:
                ids = [choice.id for choice in step.question.choices]
                yield f"{ids.index(answers[step.id]) + 1}\n"
                yield "send\n"
            elif step.kind == "send":
                yield from self.send_until_passed()
            elif step.kind == "repair":
                yield from self.mend()
            yield "next\n"
        yield "steps\n"

    def send_until_passed(self) -> Iterator[str]:
        """Send again and again, at most sixty times."""
        before = self.screen.getvalue().count("PASSED")
        for _ in range(60):
            if self.screen.getvalue().count("PASSED") > before:
                return
            yield "send\n"

    def mend(self) -> Iterator[str]:
        """Look, find the empty chain's name, write its two rules by hand, and have it checked."""
        yield "check\n"
        yield "shell node-a\n"
        yield "iptables -t nat -S | grep 'demo/web:http -> '\n"
        found = _EMPTY_CHAIN.findall(self.screen.getvalue())
        assert found, self.screen.getvalue()[-3000:]
        rule = f"iptables -t nat -A {found[-1]} -m comment --comment demo/web:http"
        yield f"{rule} -s 10.244.2.10 -j KUBE-MARK-MASQ\n"
        yield f"{rule} -p tcp -m tcp -j DNAT --to-destination 10.244.2.10:8080\n"
        yield "exit\n"
        yield "check\n"


def test_the_authors_check_proves_the_lesson_on_a_real_lab() -> None:
    """The start fails, the solution passes, wrong answers fail, and the kernel grades as the author answers."""
    report = check_lesson("lesson-3", live=True)
    assert report.passed, "\n".join(report.lines)


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_a_student_finishes_the_lesson_over_the_plain_face(backend: str, own_state: Path) -> None:
    """From the first prediction to the last page, with a repair by hand; all in the kernel, on both back-ends."""
    lesson = load_lesson("lesson-3")
    screen = io.StringIO()
    assert run_plain("lesson-3", "legacy" if backend == "legacy" else "nft", Student(lesson, screen), screen) == 0
    said = screen.getvalue()
    assert said.count("PASSED") == sum(step.kind != "read" for step in lesson.steps), said[-4000:]
    assert said.count("NOT YET") >= 1, "the check before the repair must fail"
    assert "The lesson is finished." in said


def test_commands_in_a_pipe(own_state: Path) -> None:
    """`printf … | kplab start lesson-3 --plain`: no terminal, no root shell of ours left, progress kept."""
    kplab = Path(sys.executable).with_name("kplab")
    assert kplab.exists(), "the kplab script is not installed beside this Python: pip install -e ."
    environment = {**os.environ, "XDG_STATE_HOME": str(own_state)}
    typed = ["2\nsend\nnext\n", "steps\n"]
    ran = [
        subprocess.run(
            [kplab, "start", "lesson-3", "--plain"], input=text, env=environment, capture_output=True, text=True,
            timeout=60, check=False,
        )
        for text in typed
    ]  # fmt: skip
    assert [each.returncode for each in ran] == [0, 0], ran
    assert "PASSED" in ran[0].stdout
    assert "Step 2 of 11: Rule by rule" in ran[1].stdout
    assert "passed  An address that nobody has" in ran[1].stdout
    assert [each.stderr for each in ran] == ["", ""]
