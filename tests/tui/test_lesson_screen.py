"""The lesson on the screen, from its first step to its last."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kplab.course.lesson import About, Lesson
from kplab.errors import LabError
from kplab.session.base import Report, Session, Step

if TYPE_CHECKING:
    from tests.tui.conftest import FakeSession, OpenStage

pytestmark = pytest.mark.tui


async def test_a_student_finishes_a_lesson_by_keys_alone(stage: OpenStage, small: Lesson, session: FakeSession) -> None:
    """Read, predict, send, watch, send, repair: every kind of step is passed from the keyboard."""
    async with stage(lesson=small) as s:
        assert s.run is not None
        assert "Read · Read this" in s.text()
        await s.press("n")
        assert "1 ( ) web-1" in s.text()

        await s.press("2", "slash", "enter")
        assert session.sent[-1][1] == "client"
        assert "playing" in s.text()
        await s.press("end")
        assert "✓ passed" in s.text()
        assert "hop 41/41" in s.text()

        await s.press("n", "slash", "enter", "end", "n")
        assert s.run.step.id == "repair"
        await s.press("x")
        assert "✗ not yet" in s.text()
        session.mended = True
        await s.press("x")

        assert s.run.finished
        assert "✓ Every step is passed" in s.text()


async def test_a_wrong_prediction_says_what_to_look_at(stage: OpenStage, small: Lesson) -> None:
    """The verdict is in words, and the step is not passed."""
    async with stage(lesson=small) as s:
        await s.press("n", "1", "slash", "enter", "end")

        assert "✗ not yet" in s.text()
        assert "look at where it was delivered" in s.text()
        assert s.run is not None
        assert not s.run.state.passed


async def test_nothing_is_sent_before_the_prediction(stage: OpenStage, small: Lesson, session: FakeSession) -> None:
    """Predict first: the prompt says so, and the lab is not asked."""
    async with stage(lesson=small) as s:
        await s.press("n", "slash", "enter")

        assert session.sent == []
        assert "! predict first: press the number of an answer, then send" in s.text()


async def test_the_verdict_waits_until_the_packet_was_seen_to_its_end(stage: OpenStage, small: Lesson) -> None:
    """What the kernel said of the prediction is not given away while the packet is under way."""
    async with stage(lesson=small) as s:
        await s.press("n", "2", "slash", "enter")
        await s.pass_time(5.0)
        assert "✓ passed" not in s.text()

        await s.pass_time(60.0)

        assert "✓ passed" in s.text()


async def test_hints_come_one_by_one_and_reset_takes_all_back(stage: OpenStage, small: Lesson) -> None:
    """`h` shows the next tier, `r` begins the step anew."""
    async with stage(lesson=small) as s:
        await s.press("n", "h")
        assert "? Look at the last rule." in s.text()
        assert "It asks nothing." not in s.text()
        await s.press("h")
        assert "? It asks nothing." in s.text()

        await s.press("2", "r")

        assert "(•)" not in s.text()
        assert "Look at the last rule." not in s.text()


async def test_steps_can_be_gone_back_to(stage: OpenStage, small: Lesson) -> None:
    """`p` goes back; `n` does not pass a step that is not done with, and says what is to be done."""
    async with stage(lesson=small) as s:
        await s.press("n", "n")
        assert "step 2/4" in s.text()
        assert s.notices() == ["Not yet: Answer, then send."]

        await s.press("p")

        assert "step 1/4" in s.text()


async def test_at_80x24_lesson_and_picture_are_two_sides(stage: OpenStage, small: Lesson) -> None:
    """F2 turns over; timeline and prompt stay in sight on both; sending turns to the picture by itself."""
    async with stage(lesson=small, size=(80, 24)) as s:
        assert "Read · Read this" in s.text()
        assert "PREROUTING" not in s.text()
        assert "F2 picture" in s.text()
        await s.press("f2")
        assert "node-a" in s.text()
        assert "Read · Read this" not in s.text()
        assert "F2 lesson" in s.text()
        await s.press("f2")

        await s.press("n", "2", "slash", "enter", "right", "right", "right", "right")

        for part in ("PREROUTING", "why", "next", "[ walk ]", "hop 5/41", "packet>", "● seen", "o unfolds", "tried 13"):
            assert part in s.text(), part
        assert max(len(row) for row in s.text().splitlines()) <= 80


async def test_at_200_columns_walk_and_conntrack_stand_side_by_side(stage: OpenStage, small: Lesson) -> None:
    """Room is used."""
    async with stage(lesson=small, size=(200, 50)) as s:
        await s.press("n", "2", "slash", "enter", "end")

        assert "last walk" in s.text()
        assert "SYN_RECV" in s.text()


async def test_the_lab_is_seen_being_built(stage: OpenStage, small: Lesson, session: FakeSession) -> None:
    """Each step with its seconds; then the lesson opens."""
    seen: list[str] = []

    def build(report: Report) -> Session:
        report(Step("namespaces", False, 0.01))
        report(Step("namespaces", True, 0.12))
        return session

    async with stage(lesson=small, build=build) as s:
        seen.append(s.text())

        assert "Read · Read this" in s.text()


async def test_a_lab_that_cannot_be_built_says_why(stage: OpenStage, small: Lesson) -> None:
    """What was tried, what happened, what to do; no traceback, and the screen can be left."""

    def build(report: Report) -> Session:
        report(Step("namespaces", False, 0.01))
        raise LabError("the namespaces could not be made", "Operation not permitted", "Run `kplab doctor`.")

    async with stage(lesson=small, build=build) as s:
        for part in ("namespaces", "the namespaces could not be made", "Operation not permitted", "kplab doctor"):
            assert part in s.text()
        assert "Traceback" not in s.text()

        await s.press("q")

        assert s.app.failure is not None
        assert s.app.failure.hint == "Run `kplab doctor`."


async def test_a_packet_that_the_lab_refuses_is_told_under_the_prompt(stage: OpenStage, session: FakeSession) -> None:
    """The error stands where the student looks, and the next packet can be sent."""
    async with stage() as s:
        session.refuses = LabError("client could not send it", "EPERM: Operation not permitted", "Try another.")
        await s.press("slash")
        await s.type('IP(dst="10.96.0.42")/ICMP()')
        await s.press("enter")
        assert "! client could not send it: EPERM: Operation not permitted" in s.text()

        session.refuses = None
        await s.press("slash", "enter")

        assert "hop 1/41" in s.text()


LONG = "\n\n".join(f"Paragraph {n} of a long text, as lessons have them." for n in range(40))


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (100, 24), (120, 36), (140, 44), (200, 50)])
async def test_question_and_keys_stay_in_sight_under_a_long_text(
    stage: OpenStage, small: Lesson, size: tuple[int, int]
) -> None:
    """At every size, and the edge says that there is more to read; the verdict's beginning stands there too."""
    long = replace(small, steps=(small.steps[0], replace(small.steps[1], text=LONG, explanation=LONG)))
    async with stage(lesson=long, size=size) as s:
        await s.press("n")
        for part in (
            "Which endpoint will it meet?",
            "1 ( ) web-1",
            "2 ( ) web-3",
            "hint 1 of 2",
            "r reset",
            "more rows",
        ):
            assert part in s.text(), part
        assert "» 1-2 chooses your answer" in s.text()
        await s.press("2")
        assert "2 (•) web-3" in s.text()
        assert "» Enter: send" in s.text()
        await s.press("pagedown")
        assert "PgUp" in s.text()
        assert "2 (•) web-3" in s.text()

        await s.press("enter", "end")
        if "F2 lesson" in s.text():
            await s.press("f2")

        for part in ("Which endpoint will it meet?", "✓ passed", "h hint 1 of 2", "r reset"):
            assert part in s.text(), part


async def test_enter_sends_what_stands_in_the_prompt(stage: OpenStage, small: Lesson, session: FakeSession) -> None:
    """Also when the prompt has no focus; a widget that has it and uses Enter goes before."""
    async with stage(lesson=small) as s:
        await s.press("n", "enter")
        assert "! predict first" in s.text()
        await s.press("1", "enter")
        assert [sender for _, sender in session.sent] == ["client"]
        assert "» End goes to the verdict" in s.text()
        await s.press("end", "2")
        assert "» Enter" not in s.text()

        s.screen.query_one("WalkLines").focus()
        await s.press("enter")

        assert len(session.sent) == 1


async def test_a_packet_beside_the_question_is_told_not_to_be_graded(stage: OpenStage, small: Lesson) -> None:
    """Sending something else passes nothing, and the panel says why."""
    step = replace(small.steps[2], grade=replace(small.steps[2].grade, about=About(destination="10.9.9.9:80")))
    async with stage(lesson=replace(small, steps=(step,))) as s:
        await s.press("enter", "end")

        assert s.run is not None
        assert s.run.state.verdict is None
        shown = " ".join(" ".join(row[:43].split()) for row in s.text().splitlines())
        assert "not graded: it went to 10.96.0.42:80" in shown
