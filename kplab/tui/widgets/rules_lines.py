"""The lines of a listing: scrolled, marked where the packet touched them, with a cursor and a way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from kplab.scene.listings import Touched
from kplab.tui.help import Help
from kplab.tui.paint.lines import Line
from kplab.tui.paint.rules import Touch, paint_fold, paint_rule
from kplab.tui.rulebook import Row, Rulebook, row_of
from kplab.tui.widgets.painted import PaintedScroll

HELP = Help(
    "Rules",
    "What a node's kernel held just before the packet was sent, as the command above it prints it on the node: "
    "`iptables-save`, `nft list table`, `ipvsadm -Ln`, `ipset list`, the local routing table, `bpftool map dump`, or "
    "the proxy's listening sockets: each proxy mode keeps its state in another place. `▶` is what the hop that is "
    "shown touched, `▸` what hops before it did; the browser follows the packet from node to node and table to table."
    "\n\n"
    "`↑` `↓` move, `Enter` goes to the chain or set that the line names, or unfolds elements, `Backspace` goes back, "
    "`/` searches this and the node's other tables (Enter again: the next), `g` goes to a chain, set or virtual server "
    "by name, `o` chooses another command or node.",
)


class RulesLines(PaintedScroll):
    """The lines, with a cursor."""

    help: ClassVar[Help] = HELP
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False, id="rules.up"),
        Binding("down", "move(1)", show=False, id="rules.down"),
        Binding("pageup", "move(-10)", show=False, id="rules.page-up"),
        Binding("pagedown", "move(10)", show=False, id="rules.page-down"),
        Binding("enter", "follow", "follow", id="rules.follow", tooltip="Go to what this line names, or unfold it"),
        Binding("backspace", "return", "back", id="rules.back", tooltip="Go back to where you came from"),
    ]

    @dataclass
    class Moved(Message):
        """The cursor stands on another line."""

        text: str

    @dataclass
    class Leads(Message):
        """The line under the cursor names a thing that is to be gone to."""

        name: str

    @dataclass
    class Returned(Message):
        """The way leads back to a line of a book."""

        book: Rulebook
        line: int

    def __init__(self) -> None:
        super().__init__()
        self.book: Rulebook | None = None
        self.cursor = 0
        """The line that it stands on; of a fold, the first line that is hidden."""
        self.touched = Touched()
        self.wanted = ""
        self._rows: Sequence[Row] = ()
        self._trail: list[tuple[Rulebook, int]] = []

    def open(self, book: Rulebook) -> None:
        """Show another book from its beginning."""
        self.book, self.cursor, self.touched = book, 0, Touched()
        self._lay()
        self.scroll_to(y=0, animate=False)

    def forget(self) -> None:
        """Forget the way back: its books are others now."""
        self._trail.clear()

    def _lay(self) -> None:
        """Lay out the rows anew."""
        self._rows = self.book.rows(self.touched.so_far) if self.book is not None else ()
        self.set_count(len(self._rows))

    def row(self, index: int, width: int) -> Line:
        """Paint one row."""
        if self.book is None or index >= len(self._rows):
            return ()
        at = self._rows[index]
        cursor = self.has_focus and at.line == self.cursor
        if at.hidden:
            return paint_fold(at.hidden, width, cursor=cursor)
        text = self.book.lines[at.line]
        found = bool(self.wanted) and self.wanted in text.lower()
        return paint_rule(text, width, cursor=cursor, touch=self._touch(at.line), found=found)

    def _touch(self, line_number: int) -> Touch:
        if line_number in self.touched.now:
            return "now"
        return "before" if line_number in self.touched.so_far else ""

    def go(self, number: int | None, *, remember: bool = False, unfold: bool = True) -> None:
        """Put the cursor on a line and bring it into sight."""
        if number is None or self.book is None or not self.book.lines:
            return
        if remember:
            self._trail.append((self.book, self.cursor))
        self.cursor = min(max(number, 0), len(self.book.lines) - 1)
        if unfold and self.cursor not in self.touched.so_far and self.book.unfold(self.cursor):
            self._lay()
        self.call_after_refresh(self._bring_into_sight)
        self.refresh()
        self.post_message(self.Moved(self.book.lines[self.cursor]))

    def _bring_into_sight(self) -> None:
        top, at = self.scroll_offset.y, row_of(self._rows, self.cursor)
        if not top <= at < top + self.size.height:
            self.scroll_to(y=max(at - self.size.height // 3, 0), animate=False)

    def mark(self, touched_lines: Touched) -> None:
        """Mark what the packet touched, and bring what this hop touched into sight."""
        if touched_lines == self.touched:
            return
        before, self.touched = self.touched, touched_lines
        if before.so_far != touched_lines.so_far and self.book is not None and self.book.listing.page.folds:
            self._lay()
        if touched_lines.now:
            self.go(min(touched_lines.now))
        self.refresh()

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        if self._rows:
            at = min(max(row_of(self._rows, self.cursor) + by, 0), len(self._rows) - 1)
            self.go(self._rows[at].line, unfold=False)

    def action_follow(self) -> None:
        """Go to what this line names, or unfold it."""
        if self.book is None or not self._rows:
            return
        if self._rows[row_of(self._rows, self.cursor)].hidden:
            self.go(self.cursor)
            return
        name = self.book.target_of(self.cursor)
        if name is not None:
            self.post_message(self.Leads(name))

    def action_return(self) -> None:
        """Go back to where `follow` came from."""
        if self._trail:
            self.post_message(self.Returned(*self._trail.pop()))

    def on_resize(self) -> None:
        """Keep the cursor in sight: a tab that was only just opened had another height before."""
        self._bring_into_sight()

    def on_focus(self) -> None:
        """Show the cursor."""
        self.refresh()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self.refresh()
