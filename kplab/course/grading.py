"""The judgement of one journey: does it show what the student said, and what does the student get to read."""

from __future__ import annotations

from dataclasses import dataclass

from kplab.course.expect import Outcome, match
from kplab.course.lesson import About, Claim, Grade, LessonStep
from kplab.model.journey import Hop, Journey

_FOUND_HOPS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement. `lines` say what was found, `missed` why it did not pass."""

    passed: bool
    lines: tuple[str, ...]
    missed: tuple[str, ...] = ()


def off_topic(about: About, journey: Journey) -> tuple[str, ...]:
    """Say why a journey cannot be graded in a step, or return nothing."""
    if not journey.complete:
        why = journey.incomplete_because or "events were lost"
        return (f"not graded: the story is incomplete ({why}). Send it again.",)
    reasons = []
    if about.senders and journey.sender not in about.senders:
        reasons.append(f"it was sent from {journey.sender}, and the step is about {' or '.join(about.senders)}")
    asked = journey.hops[0].before.dst if journey.hops else "nowhere"
    if about.destination is not None and asked != about.destination:
        reasons.append(f"it went to {asked}, and the step is about {about.destination}")
    if journey.packets < about.packets:
        reasons.append("the step is about a whole connection: send it with a real client, such as curl")
    return (f"not graded: {'; '.join(reasons)}.",) if reasons else ()


def grade_prediction(step: LessonStep, choice_id: str, journey: Journey) -> Verdict:
    """Judge a prediction: it is right when its claim matches the journey."""
    choice = step.question.choice(choice_id) if step.question else None
    claim = next(claim for claim in step.grade.claims if claim.choice_id == choice_id)
    said = f"You said: {choice.label if choice else choice_id}"
    outcome = match(claim.expected, journey)
    if outcome.passed:
        return Verdict(True, (said, "The kernel agrees:", *_told(outcome.found)))
    happened = _what_happened(step.grade.claims, journey)
    lines = (said, "The kernel did something else:", *_told(happened.found)) if happened else (said,)
    return Verdict(False, lines, (*([claim.why] if claim.why else []), *outcome.missed))


def grade_sending(grade: Grade, gathered: tuple[str, ...], journey: Journey) -> tuple[Verdict, tuple[str, ...]]:
    """Judge a journey by the step's expectation; return the verdict, and what has been gathered with it."""
    outcome = match(grade.expected, journey)
    if not outcome.passed:
        return Verdict(False, (journey.outcome,), outcome.missed), gathered
    if grade.gather is None:
        return Verdict(True, ("The kernel did it:", *_told(outcome.found))), gathered
    value = str(outcome.aliases[grade.gather.alias])
    met = gathered if value in gathered else (*gathered, value)
    line = f"This time {value}. So far: {', '.join(met)} ({len(met)} of {grade.gather.count})"
    if len(met) < grade.gather.count:
        return Verdict(False, (line,), (f"{grade.gather.count - len(met)} still to be met: send it again",)), met
    return Verdict(True, (line,)), met


def _what_happened(claims: tuple[Claim, ...], journey: Journey) -> Outcome | None:
    outcomes = (match(claim.expected, journey) for claim in claims)
    return next((outcome for outcome in outcomes if outcome.passed), None)


def _told(hops: tuple[Hop, ...]) -> tuple[str, ...]:
    return tuple(f"  hop {hop.n}, {hop.node}: {hop.text}" for hop in hops[:_FOUND_HOPS_SHOWN])
