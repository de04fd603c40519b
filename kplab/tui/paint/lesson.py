"""A lesson's small parts: the step's head, its task, its answers, what was found, hints."""

from __future__ import annotations

from collections.abc import Sequence

from kplab.course.engine import LessonRun, StepState
from kplab.course.lesson import LessonStep
from kplab.tui.paint.lines import Line, Span, StyleName, line, wrap

_KINDS = {"read": "Read", "predict": "Predict", "send": "Send", "repair": "Repair"}


def paint_progress(run: LessonRun, width: int) -> list[Line]:
    """Paint a mark for each step (✓ passed, ▶ this one, · to come), and this one's kind and title."""
    marks: list[Span] = []
    for index, state in enumerate(run.states):
        here = index == run.index
        mark = "▶" if here else "✓" if state.passed else "·"
        style: StyleName = "now" if here else "match" if state.passed else "muted"
        marks.append(Span(f"{mark} ", style))
    step = run.step
    titles = wrap(f"{_KINDS[step.kind]} · {step.title}", width)
    return [tuple(marks), line(Span("")), *(line(Span(row, "title")) for row in titles)]


def paint_task(step: LessonStep, width: int) -> list[Line]:
    """Paint the one line that says what to do now."""
    return [
        line(Span("▸ " if i == 0 else "  ", "now"), Span(row, "strong"))
        for i, row in enumerate(wrap(step.task, width - 2))
    ]


def paint_choices(step: LessonStep, state: StepState, cursor: int, width: int, *, focused: bool) -> list[Line]:
    """Paint the question and its answers; (•) is the one chosen, > the one under the cursor."""
    if step.question is None:
        return []
    rows: list[Line] = [line(Span(row, "strong")) for row in wrap(step.question.prompt, width)] + [line(Span(""))]
    for index, choice in enumerate(step.question.choices):
        chosen = choice.id == state.prediction
        here = focused and index == cursor
        style: StyleName = "cursor" if here else "now" if chosen else "plain"
        head = f"{'>' if here else ' '}{index + 1} ({'•' if chosen else ' '}) "
        for i, text in enumerate(wrap(choice.label, width - len(head))):
            action = f"choose({index})"
            lead = Span(head, "now" if chosen else "key", action) if i == 0 else Span(" " * len(head))
            rows.append(line(lead, Span(text, style, action)))
    return rows


def paint_verdict(state: StepState, width: int) -> list[Line]:
    """Paint what the kernel said of the answer: passed or not in words, then the reasons."""
    verdict = state.verdict
    if verdict is None:
        return [line(Span("✓ passed before", "match"))] if state.passed else []
    head = ("✓ passed", "match") if verdict.passed else ("✗ not yet", "wrong")
    rows: list[Line] = [line(Span(head[0], "match" if verdict.passed else "wrong"))]
    rows += [line(Span(text)) for found in verdict.lines for text in wrap(found, width)]
    for missed in verdict.missed:
        rows += [line(Span(text, "notice")) for text in wrap(missed, width)]
    return rows


def paint_hints(hints: Sequence[str], shown: int, width: int) -> list[Line]:
    """Paint the hints asked for so far."""
    rows: list[Line] = []
    for number, hint in enumerate(hints[:shown], start=1):
        for i, text in enumerate(wrap(hint, width - 2)):
            rows.append(line(Span("? " if i == 0 else "  ", "changed"), Span(text)))
        if number < shown:
            rows.append(line(Span("")))
    return rows


def paint_keys(run: LessonRun, width: int) -> list[Line]:
    """Paint what can be done with this step."""
    step, state = run.step, run.state
    parts: list[tuple[str, str]] = []
    if step.question is not None and not state.passed:
        parts.append(("1-9", "answer"))
    if len(step.hints) > state.hints_shown:
        parts.append(("h", f"hint {state.hints_shown + 1} of {len(step.hints)}"))
    if step.kind == "repair":
        parts += [("s", "shell of the lab"), ("x", "check")]
    parts.append(("r", "reset the step"))
    if run.index > 0:
        parts.append(("p", "step before"))
    if run.can_advance and run.index + 1 < len(run.states):
        parts.append(("n", "next step"))
    rows: list[list[Span]] = [[]]
    used = 0
    for key, words in parts:
        size = len(key) + len(words) + 3
        if used + size > width and rows[-1]:
            rows.append([])
            used = 0
        style: StyleName = "now" if key == "n" else "key"
        rows[-1] += [Span(key, style), Span(f" {words}  ", "strong" if key == "n" else "muted")]
        used += size
    if run.finished:
        told = wrap("✓ Every step is passed: the lesson is finished.", width)
        rows = [[Span(text, "match")] for text in told] + [[]] + rows
    return [tuple(row) for row in rows]
