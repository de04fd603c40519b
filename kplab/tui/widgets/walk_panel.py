"""The walk: the rules that the kernel tried, one at a time, and why each was passed over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from kplab.scene.frame import Frame, Walk, WalkLine
from kplab.scene.walks import unfold
from kplab.tui.help import Help
from kplab.tui.paint.lines import Line, Span
from kplab.tui.paint.walk import paint_walk_line, paint_walk_title
from kplab.tui.widgets.painted import Painted, PaintedScroll

_HELP = Help(
    "Walk",
    "The rules of one table at one hook in the order in which the kernel tries them; a jump goes one step to the "
    "right. `✓` the rule "
    "matched, and beside it is what it does. `✗` it was tried and passed over, and beside it is the first thing in "
    "it that did "
    "not match. `↩` the chain ended. `≡` a map was asked. `▶` is where the packet is. "
    "`●` `◐` `○` in front say how we know of the line. *tried* counts the rules.\n\nThe kernel reports "
    "only the rules that "
    "match. The skipped ones are worked out from the kernel's own dump, and checked against its report.\n\n"
    "`o` unfolds skipped rules, `⇧←` `⇧→` go rule by rule.",
)


class WalkTitle(Painted):
    """Which walk this is, and how many rules it has tried."""

    help: ClassVar[Help] = _HELP

    def __init__(self) -> None:
        super().__init__()
        self._walk: Walk | None = None

    def show(self, walk: Walk | None) -> None:
        """Show a walk's title."""
        before, self._walk = self._walk, walk
        if before is not walk and before != walk:
            self.repaint()

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint one line."""
        return [paint_walk_title(self._walk, width)]


class WalkLines(PaintedScroll):
    """The walk's lines; scrolls along with the play."""

    help: ClassVar[Help] = _HELP
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "toggle_fold", "unfold", id="walk.unfold", tooltip="Show or hide the skipped rules of a fold")
    ]

    def __init__(self) -> None:
        super().__init__()
        self._walk: Walk | None = None
        self._rows: tuple[WalkLine, ...] = ()
        self.unfolded = False

    def show(self, walk: Walk | None) -> None:
        """Show a walk, and bring its last line into sight."""
        before, self._walk = self._walk, walk
        same = before is not None and walk is not None and before.lines == walk.lines
        if not (same and before is not None and walk is not None and before.running == walk.running):
            self._show_rows()

    def action_toggle_fold(self) -> None:
        """Unfold the skipped rules, or fold them again."""
        self.unfolded = not self.unfolded
        self._show_rows()

    def _show_rows(self) -> None:
        rows: list[WalkLine] = []
        for one in self._walk.lines if self._walk else ():
            rows.extend(unfold(one) if one.mark == "fold" and self.unfolded else (one,))
        self._rows = tuple(rows)
        self.set_count(len(rows))
        self.call_after_refresh(self._to_end)

    def _to_end(self) -> None:
        self.scroll_to(y=max(len(self._rows) - self.size.height, 0), animate=False)

    def row(self, index: int, width: int) -> Line:
        """Paint one line."""
        now = self._walk is not None and self._walk.running and index == len(self._rows) - 1
        return paint_walk_line(self._rows[index], width, now=now) if index < len(self._rows) else (Span(""),)


class WalkPanel(Vertical):
    """Title and lines."""

    help: ClassVar[Help] = _HELP

    def compose(self) -> ComposeResult:
        """Title above, lines beneath."""
        yield WalkTitle()
        yield WalkLines()

    def show(self, frame: Frame) -> None:
        """Show a frame's walk."""
        self.query_one(WalkTitle).show(frame.walk)
        self.query_one(WalkLines).show(frame.walk)

    def toggle_fold(self) -> None:
        """Unfold the skipped rules, or fold them again."""
        self.query_one(WalkLines).action_toggle_fold()
