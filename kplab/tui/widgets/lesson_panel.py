"""The lesson: text, question, task, verdict, hints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Markdown

from kplab.course.engine import LessonRun
from kplab.tui.help import Help
from kplab.tui.paint.lesson import (
    cut_rows,
    paint_choices,
    paint_edge,
    paint_hints,
    paint_keys,
    paint_next,
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
    "and the one before, `s` opens a shell in the lab, `x` checks a repair. `PgDn` and `PgUp` scroll the text; "
    "question, answers, verdict and keys stay in sight beneath it.",
)
_VERDICT_ROWS = {"tiny": (3, 2), "short": (5, 3), "": (10, 4)}
"""By the screen's class: rows of a verdict that stands fast whole, and of a longer one's beginning."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the panel shows besides the lesson's run."""

    watching: bool = False
    """A packet is under way, and the verdict waits for its end."""
    live: bool = True
    remark: tuple[str, ...] = ()
    """Why the last packet was not graded."""


class RunPart(Painted):
    """A part of the lesson that is painted from its state."""

    help: ClassVar[Help] = _HELP

    def __init__(self, run: LessonRun, *, id: str) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.run = run
        self.standing = Standing()

    @property
    def verdict_rows(self) -> tuple[int, int]:
        """How many rows of the verdict stand fast: at most, and of one that is longer."""
        return next(rows for name, rows in _VERDICT_ROWS.items() if not name or self.screen.has_class(name))

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint the part."""
        run, standing = self.run, self.standing
        match self.id:
            case "lesson-head":
                return paint_progress(run, width)
            case "lesson-task":
                return [] if run.state.passed or self.screen.has_class("tiny") else paint_task(run.step, width)
            case "lesson-next":
                return paint_next(run, width, watching=standing.watching, live=standing.live)
            case "lesson-verdict":
                rows = paint_verdict(run.state, standing.remark, width)
                most, few = self.verdict_rows
                return rows if len(rows) <= most else cut_rows(rows, few)
            case "lesson-full-verdict":
                rows = paint_verdict(run.state, standing.remark, width)
                return rows if len(rows) > self.verdict_rows[0] else []
            case "lesson-hints":
                return paint_hints(run.step.hints, run.state.hints_shown, width)
            case _:
                return paint_keys(run, width)


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
        tight = self.screen.has_class("low")
        return paint_choices(self.run.step, self.run.state, self._cursor, width, focused=self.has_focus, tight=tight)

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


class Edge(Painted):
    """The edge between text and dock; says whether there is more to read."""

    help: ClassVar[Help] = _HELP

    def __init__(self, text: Widget) -> None:
        super().__init__(id="lesson-edge")
        self._text = text

    def on_mount(self) -> None:
        """Follow the text's place and length."""
        for name in ("scroll_y", "virtual_size", "container_size"):
            self.watch(self._text, name, self.repaint, init=False)

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint it."""
        above = round(self._text.scroll_y)
        return [paint_edge(width, above, max(int(self._text.max_scroll_y) - above, 0))]


class LessonPanel(Vertical):
    """All of a step: its text to scroll; question, verdict, task and keys beneath, always in sight."""

    help: ClassVar[Help] = _HELP

    def __init__(self, run: LessonRun, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.run = run
        self._shown: tuple[int, bool] | None = None
        self._unread = False
        """A verdict that came while the lesson was not in sight."""

    def compose(self) -> ComposeResult:
        """Head, text, explanation, hints; the edge; question, verdict, task, what to press."""
        text = VerticalScroll(
            RunPart(self.run, id="lesson-head"),
            Markdown("", id="lesson-text", open_links=False),
            RunPart(self.run, id="lesson-full-verdict"),
            Markdown("", id="lesson-explanation", open_links=False),
            RunPart(self.run, id="lesson-hints"),
            id="lesson-scroll",
            can_focus=False,
        )
        yield text
        yield Edge(text)
        with VerticalScroll(id="lesson-dock", can_focus=False):
            yield Choices(self.run)
            yield RunPart(self.run, id="lesson-verdict")
            yield RunPart(self.run, id="lesson-task")
        yield RunPart(self.run, id="lesson-next")
        yield RunPart(self.run, id="lesson-keys")

    async def show(self, standing: Standing) -> None:
        """Show the step that the run is at; goes to its top when it is another one, to the verdict when it is new."""
        run = self.run
        shown = (run.index, run.state.passed)
        before, self._shown = self._shown, shown
        if before is None or before[0] != run.index:
            await self.query_one("#lesson-text", Markdown).update(run.step.text)
            self.text.scroll_home(animate=False)
        if before != shown:
            await self.query_one("#lesson-explanation", Markdown).update(
                run.step.explanation if run.state.passed else ""
            )
        for part in self.query(RunPart):
            part.standing = standing
        self._fit()
        if run.state.verdict is not None and run.state.passed and before == (run.index, False):
            self._unread = True
            self.call_after_refresh(self._to_explanation)

    def on_resize(self) -> None:
        """Another width needs another number of rows."""
        self._fit()
        if self._unread:
            self.call_after_refresh(self._to_explanation)

    def _fit(self) -> None:
        width = max(self.size.width - 2, 20)
        for part in self.query(Painted):
            part.display = bool(part.lines(width, 0))
            part.relayout()

    @property
    def text(self) -> VerticalScroll:
        """What scrolls."""
        return self.query_one("#lesson-scroll", VerticalScroll)

    def scroll_text(self, by: int) -> None:
        """Scroll the text by a page (1 on, -1 back)."""
        page = self.text.scroll_page_down if by > 0 else self.text.scroll_page_up
        page(animate=False)

    def _to_explanation(self) -> None:
        if not self.display:
            return
        self._unread = False
        full = self.query_one("#lesson-full-verdict")
        target = full if full.display else self.query_one("#lesson-explanation")
        self.text.scroll_to_widget(target, animate=False, top=True)

    def to_end(self) -> None:
        """Bring the newest hint into sight."""
        self.call_after_refresh(self.text.scroll_end, animate=False)
