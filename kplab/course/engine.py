"""One student's way through one lesson: which step, what was predicted, and what the kernel said of it.

Nothing here prints, waits or sends: a face gives it journeys and the session, and shows its verdicts. Calls
that take a session talk to the lab and block; a face that must not block makes them in a worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from kplab.course.breakage import Breakage
from kplab.course.checks import examine
from kplab.course.grading import Verdict, grade_prediction, grade_sending, off_topic
from kplab.course.held import Held
from kplab.course.lesson import Lesson, LessonStep, Repair
from kplab.course.progress import ProgressStore, StepProgress
from kplab.errors import UnknownNameError
from kplab.model.journey import Journey
from kplab.session.base import Session

__all__ = ["LessonRun", "StepState", "Verdict", "judge_repair"]


@dataclass(frozen=True, slots=True)
class StepState:
    """How a step stands."""

    prediction: str | None = None
    """The id of the choice."""
    journeys: int = 0
    """Packets seen in this step, on the subject or not."""
    passed: bool = False
    hints_shown: int = 0
    verdict: Verdict | None = None
    """The latest; None until something was graded."""
    attempts: int = 0
    """Graded packets and checks."""
    gathered: tuple[str, ...] = ()
    """Different values met so far, where a step asks for several."""


def judge_repair(repair: Repair, session: Session) -> Verdict:
    """Carry out all of a repair's checks in the lab as it is now."""
    findings = [examine(check, session) for check in repair.checks]
    missed = tuple(text for found in findings for text in found.missed)
    return Verdict(not missed, tuple(text for found in findings for text in found.lines), missed)


class LessonRun:
    """A lesson under way. `clock` returns seconds since 1970, for the progress file."""

    def __init__(self, lesson: Lesson, store: ProgressStore | None, clock: Callable[[], float]) -> None:
        self.lesson = lesson
        self.index = 0
        """The current step, 0-based."""
        self._store = store
        self._clock = clock
        self._states = [StepState() for _ in lesson.steps]
        self._breakage = Breakage()
        if store is not None:
            self._resume(store)

    @property
    def step(self) -> LessonStep:
        """The current step."""
        return self.lesson.steps[self.index]

    @property
    def state(self) -> StepState:
        """How the current step stands."""
        return self._states[self.index]

    @property
    def states(self) -> tuple[StepState, ...]:
        """How every step stands, in order."""
        return tuple(self._states)

    @property
    def ready_to_send(self) -> bool:
        """Whether a packet would be graded: False while a predict step waits for the prediction."""
        return self.step.kind != "predict" or self.state.prediction is not None or self.state.passed

    @property
    def can_advance(self) -> bool:
        """Whether the step is done with."""
        return self.step.kind == "read" or self.state.passed

    @property
    def finished(self) -> bool:
        """Whether every step is passed."""
        return all(state.passed for state in self._states)

    def enter(self, session: Session) -> None:
        """Prepare the lab for the current step: a repair step that is not passed is broken, any other mended.

        Does nothing when the lab is as it should be already. Raises LabError when the lab cannot be prepared.
        """
        self._prepare(session)

    def _prepare(self, session: Session, held: Held | None = None) -> None:
        repair = self.step.repair
        if repair is not None and not self.state.passed:
            self._breakage.make(session, self.step.id, repair, held)
        else:
            self._breakage.undo(session)

    def leave(self, session: Session) -> None:
        """Mend what the run has broken in the lab. Raises ProgramError when the node cannot be put back."""
        self._breakage.undo(session)

    def predict(self, choice_id: str) -> None:
        """Record a prediction; it may be changed until a packet has passed the step.

        Raises UnknownNameError when the step has no such choice.
        """
        question = self.step.question
        if question is None or question.choice(choice_id) is None:
            ids = ", ".join(choice.id for choice in question.choices) if question else "this step asks nothing"
            raise UnknownNameError(f"{choice_id!r} is not an answer of this step", "", f"Answers: {ids}")
        if not self.state.passed:
            self._put(replace(self.state, prediction=choice_id))

    def saw(self, journey: Journey) -> Verdict:
        """Judge the current step by what the kernel did with a packet.

        A packet that the step is not about, and a trace that lost events, are told and not graded.
        """
        self._put(replace(self.state, journeys=self.state.journeys + 1), keep=False)
        step, state = self.step, self.state
        if state.passed or step.kind in {"read", "repair"}:
            return Verdict(state.passed, (journey.outcome,))
        if step.kind == "predict" and state.prediction is None:
            return Verdict(False, (journey.outcome,), ("not graded: answer the question first, then send.",))
        strays = off_topic(step.grade.about, journey)
        if strays:
            return Verdict(False, (journey.outcome,), strays)
        if step.kind == "predict":
            verdict, gathered = grade_prediction(step, state.prediction or "", journey), state.gathered
        else:
            verdict, gathered = grade_sending(step.grade, state.gathered, journey)
        self._judged(verdict, gathered)
        return verdict

    def check(self, session: Session) -> Verdict:
        """Judge a repair by the kernel's own state and by real connections. Other steps have nothing to check.

        A step that has not been broken yet is broken first: an untouched lab must not pass it.
        """
        repair = self.step.repair
        if repair is None:
            return Verdict(self.state.passed, ("This step has nothing to check: it is judged by what you send.",))
        self.enter(session)
        verdict = judge_repair(repair, session)
        self._judged(verdict, self.state.gathered)
        if verdict.passed:
            self._breakage.mended()
        return verdict

    def hint(self) -> str | None:
        """Return the next tier of the step's hints, None when there are no more."""
        shown = self.state.hints_shown
        if shown >= len(self.step.hints):
            return None
        self._put(replace(self.state, hints_shown=shown + 1))
        return self.step.hints[shown]

    def reset(self, session: Session | None) -> None:
        """Begin the step anew; with a live session, a repair step's node is put back and broken again."""
        self._put(StepState())
        if session is not None and session.live:
            self._prepare(session, self._breakage.undo(session))

    def restart(self, session: Session | None) -> None:
        """Begin the whole lesson anew, and forget its progress."""
        self._states = [StepState() for _ in self.lesson.steps]
        self.index = 0
        if self._store is not None:
            self._store.reset(self.lesson.id)
        if session is not None and session.live:
            self._prepare(session, self._breakage.undo(session))

    def advance(self) -> bool:
        """Go on to the next step if this one is done with; False when it is not, or when it is the last."""
        if not self.can_advance:
            return False
        if not self.state.passed:
            self._put(replace(self.state, passed=True))
        return self._move(self.index + 1)

    def back(self) -> bool:
        """Go back a step; False at the first."""
        return self._move(self.index - 1)

    def _move(self, index: int) -> bool:
        if not 0 <= index < len(self.lesson.steps):
            return False
        self.index = index
        if self._store is not None:
            self._store.place(self.lesson.id, self.step.id)
        return True

    def _judged(self, verdict: Verdict, gathered: tuple[str, ...]) -> None:
        state = self.state
        passed = state.passed or verdict.passed
        self._put(replace(state, passed=passed, verdict=verdict, attempts=state.attempts + 1, gathered=gathered))

    def _put(self, state: StepState, *, keep: bool = True) -> None:
        self._states[self.index] = state
        if keep and self._store is not None:
            kept = StepProgress(state.passed, state.prediction, state.hints_shown, state.attempts, self._clock())
            self._store.record(self.lesson.id, self.step.id, kept)

    def _resume(self, store: ProgressStore) -> None:
        kept = store.read(self.lesson.id)
        for index, step in enumerate(self.lesson.steps):
            found = kept.steps.get(step.id)
            if step.id == kept.step:
                self.index = index
            if found is not None:
                prediction = (
                    found.prediction if step.question and step.question.choice(found.prediction or "") else None
                )
                hints = min(found.hints_shown, len(step.hints))
                self._states[index] = StepState(prediction, 0, found.passed, hints, attempts=found.attempts)
