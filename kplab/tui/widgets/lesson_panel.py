"""The lesson: text, question, task, verdict, hints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Markdown

from kplab.course.engine import LessonRun
from kplab.tui.help import Help
from kplab.tui.paint.lesson import (
    paint_choices,
    paint_hints,
    paint_keys,
    paint_progress,
    paint_task,
    paint_verdict,
)
from kplab.tui.paint.lines import Line
from kplab.tui.widgets.painted import Painted

_HELP = Help(
    "Lesson",
    "Each step asks you to read, to predict, to send, or to repair. Predict first, then send, then see: what the "
    "kernel does with your "
    "packet is the judge, not a script.\n\n`1`-`9` answer, `h` the next hint, `r` begins the step anew, `n` and `p` "
    "go to the next step "
    "and the one before, `s` opens a shell in the lab, `x` checks a repair.",
)


class RunPart(Painted):
    """A part of the lesson that is painted from its state."""

    help: ClassVar[Help] = _HELP

    def __init__(self, run: LessonRun, *, id: str) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.run = run

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint the part."""
        match self.id:
            case "lesson-head":
                return paint_progress(self.run, width)
            case "lesson-task":
                return paint_task(self.run.step, width)
            case "lesson-verdict":
                return paint_verdict(self.run.state, width)
            case "lesson-hints":
                return paint_hints(self.run.step.hints, self.run.state.hints_shown, width)
            case _:
                return paint_keys(self.run, width)


class Choices(Painted):
    """The question and its answers."""

    can_focus = True
    help: ClassVar[Help] = _HELP
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False, id="choices.up"),
        Binding("down", "move(1)", show=False, id="choices.down"),
        Binding("enter", "choose_here", "choose", show=False, id="choices.choose", tooltip="Choose this answer"),
    ]

    @dataclass
    class Chosen(Message):
        """An answer (0-based) was chosen."""

        index: int

    def __init__(self, run: LessonRun) -> None:
        super().__init__(id="lesson-choices")
        self.run = run
        self._cursor = 0

    @property
    def count(self) -> int:
        """How many answers there are."""
        question = self.run.step.question
        return len(question.choices) if question else 0

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint the question and its answers."""
        return paint_choices(self.run.step, self.run.state, self._cursor, width, focused=self.has_focus)

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self._cursor = min(max(self._cursor + by, 0), max(self.count - 1, 0))
        self.repaint()

    def action_choose_here(self) -> None:
        """Choose the answer under the cursor."""
        self.action_choose(self._cursor)

    def action_choose(self, index: int) -> None:
        """Choose an answer (0-based)."""
        if 0 <= index < self.count:
            self._cursor = index
            self.post_message(self.Chosen(index))

    def on_focus(self) -> None:
        """Show the cursor."""
        self.repaint()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self.repaint()


class LessonPanel(VerticalScroll):
    """All of a step, to scroll."""

    help: ClassVar[Help] = _HELP

    def __init__(self, run: LessonRun, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.run = run
        self._shown: tuple[int, bool] | None = None

    def compose(self) -> ComposeResult:
        """Head, text, question, task, verdict, explanation, hints, keys."""
        yield RunPart(self.run, id="lesson-head")
        yield Markdown("", id="lesson-text", open_links=False)
        yield Choices(self.run)
        yield RunPart(self.run, id="lesson-task")
        yield RunPart(self.run, id="lesson-verdict")
        yield Markdown("", id="lesson-explanation", open_links=False)
        yield RunPart(self.run, id="lesson-hints")
        yield RunPart(self.run, id="lesson-keys")

    async def show(self) -> None:
        """Show the step that the run is at; goes to its top when it is another one, to the verdict when it is new."""
        run = self.run
        shown = (run.index, run.state.passed)
        before, self._shown = self._shown, shown
        if before is None or before[0] != run.index:
            await self.query_one("#lesson-text", Markdown).update(run.step.text)
            self.scroll_home(animate=False)
        if before != shown:
            await self.query_one("#lesson-explanation", Markdown).update(
                run.step.explanation if run.state.passed else ""
            )
        for part in self.query(Painted):
            part.display = bool(part.lines(max(self.size.width - 3, 20), 0))
            part.relayout()
        if run.state.verdict is not None and before == (run.index, False):
            self.call_after_refresh(self._to_verdict)

    def _to_verdict(self) -> None:
        self.scroll_to_widget(self.query_one("#lesson-verdict"), animate=False, top=True)

    def to_end(self) -> None:
        """Bring the newest hint into sight."""
        self.call_after_refresh(self.scroll_to_widget, self.query_one("#lesson-keys"), animate=False)
