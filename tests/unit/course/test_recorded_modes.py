"""Questions of the lessons on other modes, graded by journeys that real kernels made."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.course.engine import LessonRun
from kplab.course.load import load_lesson, solution_answers
from kplab.trace.file import read_trace
from kplab.trace.journey import tell

pytestmark = pytest.mark.unit

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"
ASKED: dict[str, dict[str, tuple[str, ...]]] = {
    "lesson-7": {
        "lab-ipvs-syn": ("hook", "scheduler", "rules", "way-back"),
        "lab-ipvs-nodeport": ("nodeport",),
        "lab-ipvs-host-curl": ("own-process",),
        "lab-ipvs-no-endpoints": ("no-endpoints",),
    },
    "lesson-12": {
        "lab-nftables-curl": ("lookup", "key", "draw", "way-back"),
        "lab-nftables-affinity-2": ("affinity",),
        "lab-nftables-no-such-port": ("wrong-port",),
        "lab-nftables-no-endpoints": ("no-endpoints",),
        "lab-nftables-nodeport-other": ("nodeport",),
    },
    "lesson-13": {"lab-ebpf-curl": ("where", "lookups", "way-back", "peer")},
}
CASES = [(lesson, name, step) for lesson, names in ASKED.items() for name, steps in names.items() for step in steps]


def _right(lesson_id: str, name: str, step_id: str) -> list[str]:
    """Return the choices that a recorded journey makes right."""
    lesson = load_lesson(lesson_id)
    journey = tell(read_trace(RECORDINGS / f"{name}.kptrace"))
    index, step = next((n, step) for n, step in enumerate(lesson.steps) if step.id == step_id)
    assert step.question is not None
    right = []
    for choice in step.question.choices:
        run = LessonRun(lesson, None, lambda: 0.0)
        run.index = index
        run.predict(choice.id)
        if run.saw(journey).passed:
            right.append(choice.id)
        assert run.state.attempts == 1, "it was not graded"
    return right


@pytest.mark.parametrize(("lesson_id", "name", "step_id"), CASES)
def test_the_kernel_grades_as_the_author_answers(lesson_id: str, name: str, step_id: str) -> None:
    """Exactly one choice of each question is what the kernel did, and it is the author's."""
    assert _right(lesson_id, name, step_id) == [solution_answers(load_lesson(lesson_id))[step_id]]


def test_a_client_does_not_pass_for_a_packet_made_by_hand() -> None:
    """With curl it goes through connect(), and is translated: that says nothing about a packet that no call made."""
    assert _right("lesson-13", "lab-ebpf-curl", "by-hand") == []
