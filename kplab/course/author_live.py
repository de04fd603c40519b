"""What only a real lab can prove of a lesson. Every step is tried with a run of its own, as a student would."""

from __future__ import annotations

from collections.abc import Iterator

from kplab.course.breakage import run_script
from kplab.course.engine import LessonRun, judge_repair
from kplab.course.findings import Finding
from kplab.course.grading import Verdict
from kplab.course.held import differing, read_held
from kplab.course.lesson import Lesson, LessonStep, Repair, Script
from kplab.course.live_parts import StartLab, Tell, lab_plan
from kplab.course.load import solution_answers
from kplab.course.presets import send_spec
from kplab.errors import LabError
from kplab.model.journey import Journey
from kplab.session.base import Session

_SENDS_AT_MOST = 60
"""To gather every endpoint of a Service: with three, this many sends miss one once in ten thousand million."""


def live_findings(lesson: Lesson, start: StartLab, tell: Tell) -> tuple[Finding, ...]:
    """Start the lesson's lab, try every step in it, and end it."""
    session = start(lab_plan(lesson), lambda step: None)
    try:
        return tuple(finding for step in lesson.steps for finding in _try_step(lesson, step, session, tell))
    finally:
        session.close()


def _try_step(lesson: Lesson, step: LessonStep, session: Session, tell: Tell) -> Iterator[Finding]:
    match step.kind:
        case "read":
            return
        case "predict":
            yield from _try_choices(lesson, step, session, tell)
        case "send":
            yield _try_sending(lesson, step, session, tell)
        case "repair":
            if step.repair is not None:
                yield from _try_repair(lesson, step, step.repair, session)


def _run_at(lesson: Lesson, step: LessonStep) -> LessonRun:
    """Return a fresh run, kept nowhere, that stands at a step."""
    run = LessonRun(lesson, None, lambda: 0.0)
    run.index = lesson.steps.index(step)
    return run


def _send(step: LessonStep, session: Session, tell: Tell) -> Journey:
    if step.preset is None:
        raise LabError(f"step {step.id!r} has no preset to send")
    return tell(session.send(send_spec(step.preset), step.preset.sender))


def _try_choices(lesson: Lesson, step: LessonStep, session: Session, tell: Tell) -> Iterator[Finding]:
    """One packet, every choice: the author's must be right and every other wrong."""
    journey = _send(step, session, tell)
    yield from _honest(step, journey)
    answer = solution_answers(lesson)[step.id]
    for choice in step.question.choices if step.question else ():
        run = _run_at(lesson, step)
        run.enter(session)
        run.predict(choice.id)
        verdict = run.saw(journey)
        right = choice.id == answer
        graded = run.state.attempts == 1
        wanted = "right" if right else "wrong"
        text = f"the kernel grades {choice.id!r} {wanted}"
        passed = graded and verdict.passed == right
        yield Finding(step.id, passed, text if passed else f"{text}: it did not. {_told(verdict)}")


def _try_sending(lesson: Lesson, step: LessonStep, session: Session, tell: Tell) -> Finding:
    run = _run_at(lesson, step)
    run.enter(session)
    verdict = Verdict(False, ())
    for sends in range(1, _SENDS_AT_MOST + 1):
        verdict = run.saw(_send(step, session, tell))
        if verdict.passed:
            return Finding(step.id, True, f"sending the preset passes it, after {sends}")
    return Finding(step.id, False, f"{_SENDS_AT_MOST} sends do not pass it. {_told(verdict)}")


def _try_repair(lesson: Lesson, step: LessonStep, repair: Repair, session: Session) -> Iterator[Finding]:
    """An untouched lab passes; the start fails; each wrong answer fails; the solution passes; leaving mends it."""
    held = read_held(session, repair.node)
    yield _checked(step, judge_repair(repair, session), True, "an untouched lab passes the checks")
    run = _run_at(lesson, step)
    run.enter(session)
    yield _checked(step, run.check(session), False, f"the start fails ({repair.start.name})")
    for wrong in repair.wrong:
        yield _checked(step, _after(run, session, repair, wrong), False, f"a wrong answer fails ({wrong.name})")
    yield _checked(
        step, _after(run, session, repair, repair.solution), True, f"the solution passes ({repair.solution.name})"
    )
    run.reset(session)
    yield _checked(step, run.check(session), False, "reset breaks it again")
    run.leave(session)
    left = differing(held, read_held(session, repair.node))
    text = "leaving the step puts the node back as it was"
    yield Finding(step.id, not left, f"{text}: it did not, in {', '.join(left)}" if left else text)


def _after(run: LessonRun, session: Session, repair: Repair, script: Script) -> Verdict:
    run.reset(session)
    run_script(session, repair.node, script)
    return run.check(session)


def _checked(step: LessonStep, verdict: Verdict, wanted: bool, text: str) -> Finding:
    passed = verdict.passed == wanted
    because = f": {verdict.missed[0]}" if passed and verdict.missed else ""
    return Finding(step.id, passed, f"{text}{because}" if passed else f"{text}: it did not. {_told(verdict)}")


def _honest(step: LessonStep, journey: Journey) -> Iterator[Finding]:
    """A story that is incomplete, or where model and kernel disagree, cannot be taught with."""
    if not journey.complete:
        yield Finding(step.id, False, f"the journey is incomplete: {journey.incomplete_because}")
    for text in journey.disagreements:
        yield Finding(step.id, False, f"model and kernel disagree: {text}")


def _told(verdict: Verdict) -> str:
    return " | ".join((*verdict.lines, *verdict.missed))
