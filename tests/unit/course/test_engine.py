"""A student's way through a lesson: predictions, verdicts, hints, repair, progress."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kplab.course.engine import LessonRun
from kplab.course.lesson import Lesson
from kplab.course.load import solution_answers
from kplab.course.progress import ProgressStore
from kplab.errors import ProgramError, UnknownNameError
from kplab.model.journey import Journey
from kplab.session.base import ExecResult
from kplab.session.scripted import ScriptedSession

pytestmark = pytest.mark.unit


def _run(lesson: Lesson, step_id: str, store: ProgressStore | None = None) -> LessonRun:
    run = LessonRun(lesson, store, lambda: 1000.0)
    run.index = next(index for index, step in enumerate(lesson.steps) if step.id == step_id)
    return run


@pytest.mark.parametrize("step_id", ["address", "walk", "one-in-three", "dnat", "way-back"])
def test_exactly_the_authors_answer_is_right(lesson: Lesson, journey: Journey, step_id: str) -> None:
    """A recorded SYN grades every choice of every question about a SYN to demo/web."""
    run = _run(lesson, step_id)
    assert run.step.question is not None
    right = []
    for choice in run.step.question.choices:
        run = _run(lesson, step_id)
        run.predict(choice.id)
        if run.saw(journey).passed:
            right.append(choice.id)
    assert right == [solution_answers(lesson)[step_id]]


def test_a_wrong_prediction_is_told_what_happened_and_why_it_missed(lesson: Lesson, journey: Journey) -> None:
    """The verdict quotes the kernel's hop, the author's pointer and the matcher's reason; the step stays open."""
    run = _run(lesson, "walk")
    run.predict("lookup")
    verdict = run.saw(journey)
    assert not verdict.passed
    assert verdict.lines[0].startswith("You said: It looks address and port up")
    assert "hop 5, node-a" in verdict.lines[2]
    assert "A chain of iptables is a list" in verdict.missed[0]
    assert "tried is 12, not 1" in verdict.missed[1]
    assert not run.can_advance
    run.predict("linear")
    assert run.saw(journey).passed
    assert run.state.attempts == 2


def test_no_packet_is_graded_before_the_prediction(lesson: Lesson, journey: Journey) -> None:
    """Who has already seen the answer cannot predict it; the packet is shown, and not counted."""
    run = _run(lesson, "address")
    assert not run.ready_to_send
    assert not run.saw(journey).passed
    assert (run.state.journeys, run.state.attempts) == (1, 0)
    run.predict("prerouting")
    assert run.ready_to_send


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sender": "web-1"}, "it was sent from web-1, and the step is about client"),
        ({"complete": False, "incomplete_because": "12 events were lost"}, "12 events were lost"),
    ],
)
def test_another_packet_is_shown_and_not_graded(
    lesson: Lesson, journey: Journey, change: dict[str, object], said: str
) -> None:
    """A packet from elsewhere, and a story with holes, say nothing about the prediction."""
    run = _run(lesson, "address")
    run.predict("proxy")
    verdict = run.saw(msgspec.structs.replace(journey, **change))
    assert said in verdict.missed[0]
    assert run.state.attempts == 0
    assert run.state.verdict is None


def test_a_step_about_a_connection_is_not_passed_by_one_packet(lesson: Lesson, journey: Journey) -> None:
    """The question about curl needs curl."""
    run = _run(lesson, "connection")
    run.predict("first")
    assert "with a real client" in run.saw(journey).missed[0]


def test_gathering_needs_every_endpoint(lesson: Lesson, journey: Journey) -> None:
    """The same endpoint again does not count; three different ones pass."""
    run = _run(lesson, "all-three")
    verdicts = []
    for pod in ("10.244.2.10", "10.244.2.10", "10.244.1.10", "10.244.1.11"):
        text = msgspec.json.encode(journey).replace(b"10.244.2.10:8080", f"{pod}:8080".encode())
        verdicts.append(run.saw(msgspec.json.decode(text, type=Journey)).passed)
    assert verdicts == [False, False, False, True]
    assert run.state.gathered == ("10.244.2.10:8080", "10.244.1.10:8080", "10.244.1.11:8080")


def test_hints_come_in_tiers_and_end(lesson: Lesson) -> None:
    """First a question, then a pointer; then there are no more."""
    run = _run(lesson, "walk")
    assert [run.hint(), run.hint(), run.hint()] == [*run.step.hints, None]
    assert run.state.hints_shown == 2


def test_an_answer_that_is_none_is_refused(lesson: Lesson) -> None:
    """The message lists the answers that there are."""
    with pytest.raises(UnknownNameError, match="lookup, linear, best"):
        _run(lesson, "walk").predict("magic")


def test_one_can_only_advance_when_the_step_is_passed(lesson: Lesson, journey: Journey) -> None:
    """Next waits for the step; back is always possible, and read steps are passed by going on."""
    run = _run(lesson, "address")
    assert not run.advance()
    run.predict("prerouting")
    run.saw(journey)
    assert run.advance()
    assert run.step.id == "walk"
    assert run.back()
    assert not run.back()
    last = _run(lesson, lesson.steps[-1].id)
    assert not last.advance()
    assert last.state.passed


def _changing(session: ScriptedSession) -> list[str]:
    """Return the programs that were run and may have changed something, in order."""
    return [argv[0] for _, argv, _ in session.executed if "list" not in argv]


def test_a_repair_step_is_broken_once_and_put_back(lesson: Lesson, session: ScriptedSession) -> None:
    """Entering breaks it, entering again does nothing, reset restores the kernel's own text and breaks it again."""
    run = _run(lesson, "repair")
    run.enter(session)
    run.enter(session)
    assert _changing(session) == ["sh"]
    run.reset(session)
    assert _changing(session) == ["sh", "iptables-nft-restore", "sh"]
    assert ("node-a", ("iptables-nft-restore",), session.rules) in session.executed


def test_going_back_from_a_broken_step_mends_it(lesson: Lesson, session: ScriptedSession) -> None:
    """Earlier steps need a lab that works."""
    run = _run(lesson, "repair")
    run.enter(session)
    run.back()
    run.enter(session)
    assert session.executed[-1][1] == ("iptables-nft-restore",)


def test_a_check_passes_the_repair_for_good(lesson: Lesson, session: ScriptedSession) -> None:
    """The rules are as kube-proxy's, connections are answered: passed, and no longer broken by entering."""
    names = iter(["web-1", "web-2", "web-3"] * 20)
    run = _run(lesson, "repair")
    run.enter(session)
    session.answer = lambda namespace, argv, stdin: ExecResult(0, next(names), "")
    assert run.check(session).passed
    assert run.can_advance
    before = len(session.executed)
    run.enter(session)
    assert len(session.executed) == before


def test_a_breakage_that_fails_is_an_error_and_cannot_be_passed(lesson: Lesson, session: ScriptedSession) -> None:
    """A lesson whose start does not run must not be taught as if it had: its check does not pass either."""
    session.answer = lambda namespace, argv, stdin: ExecResult(
        4 if argv[0] == "sh" else 0, "web-1 web-2 web-3", "iptables: Resource temporarily unavailable."
    )
    run = _run(lesson, "repair")
    with pytest.raises(ProgramError, match="temporarily unavailable"):
        run.enter(session)
    with pytest.raises(ProgramError, match="temporarily unavailable"):
        run.check(session)
    assert _changing(session) == ["sh", "iptables-nft-restore", "sh"]
    assert not run.state.passed


def test_progress_is_resumed(lesson: Lesson, journey: Journey, tmp_path: Path) -> None:
    """Place, passed steps, prediction and hints come back; a choice that the lesson no longer has does not."""
    run = LessonRun(lesson, ProgressStore(tmp_path), lambda: 1000.0)
    run.predict("prerouting")
    run.saw(journey)
    run.advance()
    run.hint()
    run.predict("best")

    again = LessonRun(lesson, ProgressStore(tmp_path), lambda: 2000.0)

    assert again.step.id == "walk"
    assert again.states[0].passed
    assert (again.state.prediction, again.state.hints_shown) == ("best", 1)
    assert not again.finished


def test_reset_begins_the_step_anew(lesson: Lesson, journey: Journey, tmp_path: Path) -> None:
    """Prediction, hints and the pass are gone, in the file too."""
    run = LessonRun(lesson, ProgressStore(tmp_path), lambda: 1000.0)
    run.predict("prerouting")
    run.saw(journey)
    run.reset(None)
    assert not run.state.passed
    assert not LessonRun(lesson, ProgressStore(tmp_path), lambda: 2000.0).states[0].passed


def test_restart_forgets_the_lesson(lesson: Lesson, journey: Journey, tmp_path: Path) -> None:
    """The first step again, nothing passed, and nothing in the file."""
    run = LessonRun(lesson, ProgressStore(tmp_path), lambda: 1000.0)
    run.predict("prerouting")
    run.saw(journey)
    run.advance()
    run.restart(None)
    assert run.index == 0
    assert not any(state.passed for state in run.states)
    assert ProgressStore(tmp_path).read(lesson.id).steps == {}
