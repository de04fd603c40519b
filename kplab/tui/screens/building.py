"""The lab while it is built: what is being done, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen

from kplab.errors import KplabError
from kplab.session.base import Step
from kplab.tui.help import Help
from kplab.tui.paint.lines import Line, Span, line, wrap
from kplab.tui.widgets.painted import Painted


class BuildSteps(Painted):
    """Each step with its seconds."""

    help: ClassVar[Help] = Help(
        "The lab is being built",
        "Network namespaces, links, routes, the pods' servers, and a kube-proxy for each node, in a private world of "
        "their own: "
        "nothing of this machine's network is touched.",
    )

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._steps: dict[str, Step] = {}
        self._error: KplabError | None = None

    def step(self, step: Step) -> None:
        """Show that a step began or ended."""
        self._steps[step.name] = step
        self.relayout()

    def fail(self, error: KplabError) -> None:
        """Show why the lab could not be built."""
        self._error = error
        self.relayout()

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint the steps, and the error if there is one."""
        rows: list[Line] = [line(Span(self._title, "title")), line(Span(""))]
        room = min(width, 64)
        for step in self._steps.values():
            mark = Span("✓ ", "match") if step.done else Span("… ", "now")
            name = step.name if len(step.name) <= room - 12 else step.name[: room - 13] + "…"
            seconds = f"{step.seconds:5.2f} s"
            pad = " " * max(room - len(name) - len(seconds) - 2, 1)
            rows.append(line(mark, Span(name), Span(pad + seconds, "muted")))
        if not self._steps and self._error is None:
            rows.append(line(Span("… ", "now"), Span("starting")))
        if self._error is not None:
            rows.append(line(Span("")))
            for text in str(self._error).splitlines():
                rows += [line(Span(part, "wrong")) for part in wrap(text.strip(), room)]
            rows += [line(Span("")), line(Span("q", "key"), Span(" leaves", "muted"))]
        return rows


class BuildingScreen(Screen[None]):
    """Appears at once, and gives way to the lesson."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape", "app.quit", "quit", id="building.quit", tooltip="Leave, and end what was begun")
    ]

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title_text = title

    def compose(self) -> ComposeResult:
        """The steps in the middle."""
        with Vertical(id="building"):
            yield BuildSteps(self._title_text)

    @property
    def steps(self) -> BuildSteps:
        """The list of steps."""
        return self.query_one(BuildSteps)
