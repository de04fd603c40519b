"""The author's live check, with a lab that always shows the same journey: it must see what is not so."""

from __future__ import annotations

import pytest

from kplab.course.author import check_lesson
from kplab.course.findings import Report
from kplab.model.journey import Journey
from kplab.session.base import ExecResult
from kplab.session.scripted import ScriptedSession

pytestmark = pytest.mark.unit


def _check(session: ScriptedSession, journey: Journey) -> Report:
    return check_lesson("lesson-3", live=True, start=lambda plan, report: session, tell=lambda recording: journey)


def _of(report: Report, step: str) -> list[tuple[bool, str]]:
    return [(finding.passed, finding.text) for finding in report.findings if finding.step == step][1:]


def test_each_choice_of_a_question_is_tried(session: ScriptedSession, journey: Journey) -> None:
    """One right, the others wrong, as the author says."""
    assert _of(_check(session, journey), "walk") == [
        (True, "the kernel grades 'lookup' wrong"),
        (True, "the kernel grades 'linear' right"),
        (True, "the kernel grades 'best' wrong"),
    ]
    assert session.closed


def test_a_journey_that_is_not_graded_proves_nothing(session: ScriptedSession, journey: Journey) -> None:
    """A choice is not shown to be wrong by a packet that the step is not about."""
    found = _of(_check(session, journey), "masquerade")
    assert [passed for passed, _ in found] == [False, False, False]
    assert "it was sent from client" in found[0][1]


def test_a_repair_that_its_checks_do_not_see_is_found(session: ScriptedSession, journey: Journey) -> None:
    """The scripted rules never change, so the start passes the checks: the author is told."""
    session.answer = lambda namespace, argv, stdin: ExecResult(0, "web-1 web-2 web-3", "")
    report = _check(session, journey)
    found = {text.partition(" (")[0]: passed for passed, text in _of(report, "repair")}
    assert found["an untouched lab passes the checks"]
    assert not found["the start fails"]
    assert not report.passed
