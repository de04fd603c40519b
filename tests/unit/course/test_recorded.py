"""The lesson's questions, graded by journeys that real kernels made: both back-ends, both nodes, a real client."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kplab.course.engine import LessonRun
from kplab.course.lesson import Lesson
from kplab.course.load import solution_answers
from kplab.model.journey import Journey
from kplab.trace.journey import tell
from kplab.trace.recording import Recording

pytestmark = pytest.mark.unit

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"
SYN = ("address", "one-in-three", "dnat", "way-back")


def _journey(name: str) -> Journey:
    """Tell a recording as if its Service had the lesson's ClusterIP."""
    recording = msgspec.json.decode((RECORDINGS / f"{name}.json").read_bytes(), type=Recording)
    told = msgspec.json.encode(tell(recording)).replace(b"10.96.0.20", b"10.96.0.42")
    return msgspec.json.decode(told, type=Journey)


@pytest.mark.parametrize(
    ("name", "step_id"),
    [
        *(
            (f"{place}-node-{backend}", step)
            for place in ("same", "other")
            for backend in ("nft", "legacy")
            for step in SYN
        ),
        ("client-nft", "connection"),
        ("client-legacy", "connection"),
    ],
)
def test_the_kernel_grades_as_the_author_answers(lesson: Lesson, name: str, step_id: str) -> None:
    """Exactly one choice of each question is what the kernel did, and it is the author's."""
    journey = _journey(name)
    step = next(step for step in lesson.steps if step.id == step_id)
    assert step.question is not None
    right = []
    for choice in step.question.choices:
        run = LessonRun(lesson, None, lambda: 0.0)
        run.index = lesson.steps.index(step)
        run.predict(choice.id)
        if run.saw(journey).passed:
            right.append(choice.id)
    assert right == [solution_answers(lesson)[step_id]]
