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
    return [tuple(marks), *(line(Span(row, "title")) for row in titles)]


def paint_task(step: LessonStep, width: int) -> list[Line]:
    """Paint the one line that says what to do now."""
    return [
        line(Span("▸ " if i == 0 else "  ", "now"), Span(row, "strong"))
        for i, row in enumerate(wrap(step.task, width - 2))
    ]


def paint_next(run: LessonRun, width: int, *, watching: bool, live: bool) -> list[Line]:
    """Paint what to press now: the one thing that a student who has read the task needs to know."""
    step, state = run.step, run.state
    key, words = "", ""
    if not live:
        words = "A recording: nothing can be sent."
    elif watching:
        key, words = "End", "goes to the verdict, without watching the rest"
    elif run.can_advance:
        last = run.index + 1 == len(run.states)
        key, words = ("", "") if last else ("n", "goes on to the next step")
    elif step.question is not None and state.prediction is None:
        key, words = f"1-{len(step.question.choices)}", "chooses your answer"
    elif step.kind == "repair":
        key, words = "s", f"opens a shell on {step.repair.node if step.repair else 'the node'}; x checks your repair"
    elif state.verdict is not None and step.question is not None:
        key, words = f"1-{len(step.question.choices)}", "another answer, then Enter: send"
    else:
        key, words = "Enter", ": send the packet"
    rows = wrap(f"{key} {words}".replace(" :", ":").strip(), width - 2) if words else []
    painted: list[Line] = []
    for number, row in enumerate(rows):
        head, rest = (row[: len(key)], row[len(key) :]) if number == 0 else ("", row)
        painted.append(line(Span("» " if number == 0 else "  ", "now"), Span(head, "now"), Span(rest, "strong")))
    return painted


def paint_choices(
    step: LessonStep, state: StepState, cursor: int, width: int, *, focused: bool, tight: bool = False
) -> list[Line]:
    """Paint the question and its answers; (•) is the one chosen, > the one under the cursor.

    Once the step is passed the answers go (the verdict repeats the chosen one), so that there is room to read why.
    """
    if step.question is None:
        return []
    rows: list[Line] = [line(Span(row, "strong")) for row in wrap(step.question.prompt, width)]
    if state.verdict is not None and state.verdict.passed:
        return rows
    if not tight and not state.passed:
        rows.append(line(Span("")))
    for index, choice in enumerate(step.question.choices):
        chosen = choice.id == state.prediction
        if state.passed and not chosen:
            continue
        here = focused and index == cursor
        style: StyleName = "cursor" if here else "now" if chosen else "plain"
        head = f"{'>' if here else ' '}{index + 1} ({'•' if chosen else ' '}) "
        for i, text in enumerate(wrap(choice.label, width - len(head))):
            action = f"choose({index})"
            lead = Span(head, "now" if chosen else "key", action) if i == 0 else Span(" " * len(head))
            rows.append(line(lead, Span(text, style, action)))
    return rows


def paint_verdict(state: StepState, remark: Sequence[str], width: int) -> list[Line]:
    """Paint what the kernel said of the answer: passed or not in words, then the reasons.

    `remark` is why the last packet was not graded, if it was not.
    """
    rows: list[Line] = [line(Span(text, "notice")) for told in remark for text in wrap(told, width)]
    verdict = state.verdict
    if verdict is None:
        return rows or ([line(Span("✓ passed before", "match"))] if state.passed else [])
    rows.append(line(Span("✓ passed", "match") if verdict.passed else Span("✗ not yet", "wrong")))
    rows += [line(Span(text, "notice")) for missed in verdict.missed for text in _indented(missed, width)]
    rows += [line(Span(text)) for found in verdict.lines for text in _indented(found, width)]
    return rows


def _indented(text: str, width: int) -> list[str]:
    """Wrap a text whose indentation all of its rows keep."""
    indent = " " * (len(text) - len(text.lstrip()))
    return [indent + row for row in wrap(text.strip(), width - len(indent))]


def cut_rows(rows: list[Line], limit: int) -> list[Line]:
    """Cut to `limit` rows; the last one says that the rest stands above."""
    if len(rows) <= limit:
        return rows
    return [*rows[: limit - 1], line(Span("… in full above", "muted"))]


def paint_edge(width: int, above: int, below: int) -> Line:
    """Paint the edge between the text and what stands fast beneath it: whether there is more to read, and its keys."""
    parts: list[Span] = [Span("──", "rule")]
    if above > 0:
        parts += [Span(" ▲ ", "now"), Span("PgUp", "key"), Span(" ", "rule")]
    if below > 0:
        rows = "row" if below == 1 else "rows"
        parts += [Span(" ▼ ", "now"), Span(f"{below} more {rows}: ", "strong"), Span("PgDn ", "key")]
    return (*parts, Span("─" * max(width - sum(len(part.text) for part in parts), 0), "rule"))


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
    if len(step.hints) > state.hints_shown:
        parts.append(("h", f"hint {state.hints_shown + 1} of {len(step.hints)}"))
    if step.kind == "repair":
        parts += [("s", "shell of the lab"), ("x", "check")]
    parts.append(("r", "reset"))
    if run.index > 0:
        parts.append(("p", "back"))
    if run.index + 1 < len(run.states):
        parts.append(("n", "next step"))
    rows: list[list[Span]] = [[]]
    used = 0
    for key, words in parts:
        size = len(key) + len(words) + 3
        if used + size > width and rows[-1]:
            rows.append([])
            used = 0
        ready = key == "n" and run.can_advance
        rows[-1] += [Span(key, "now" if ready else "key"), Span(f" {words}  ", "strong" if ready else "muted")]
        used += size
    if run.finished:
        told = wrap("✓ Every step is passed: the lesson is finished.", width)
        rows = [[Span(text, "match")] for text in told] + rows
    return [tuple(row) for row in rows]
