"""The rules browser: a node's whole iptables-save, to scroll, search and follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input

from kplab.model.journey import Hop
from kplab.tui.help import Help
from kplab.tui.paint.lines import Line, Span, StyleName, line, spread, wrap
from kplab.tui.paint.rules import paint_rule
from kplab.tui.rulebook import Rulebook
from kplab.tui.widgets.painted import Painted, PaintedScroll

_HELP = Help(
    "Rules",
    "What `iptables-save` prints on this node, verbatim, read just before the packet was sent. `▶` is the rule of "
    "the hop that is "
    "shown; the book follows the packet from node to node.\n\n"
    "`↑` `↓` move, `Enter` goes to the chain that the rule jumps to, `Backspace` goes back, `/` searches (Enter "
    "again: the next), "
    "`g` goes to a chain by name, `o` shows another node or family.",
)


class RulesTitle(Painted):
    """Which dump this is."""

    help: ClassVar[Help] = _HELP

    def __init__(self) -> None:
        super().__init__()
        self._text, self._note = "no rules were read yet", ""

    def show(self, text: str, note: str = "") -> None:
        """Show a title, and a note at its right."""
        self._text, self._note = text, note
        self.repaint()

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint one line."""
        notes = (self._note,) if self._note else ("/ search · g chain · ⏎ follow · ⌫ back · o other", "? keys", "")
        note = next((one for one in notes if len(self._text) + len(one) + 2 <= width), notes[-1])
        style: StyleName = "wrong" if self._note else "muted"
        return [spread(line(Span(self._text, "title")), line(Span(note, style)), width)]


class RuleInFull(Painted):
    """The line under the cursor, verbatim, as long as it is."""

    help: ClassVar[Help] = _HELP

    def __init__(self) -> None:
        super().__init__()
        self._text = ""

    def show(self, text: str) -> None:
        """Show a line."""
        if text != self._text:
            self._text = text
            self.repaint()

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint it on two rows."""
        rows = wrap(self._text, width, 2) if self._text else [""]
        return [line(Span(row, "muted")) for row in (*rows, "")[:2]]


class RulesLines(PaintedScroll):
    """The lines, with a cursor."""

    help: ClassVar[Help] = _HELP
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False, id="rules.up"),
        Binding("down", "move(1)", show=False, id="rules.down"),
        Binding("pageup", "move(-10)", show=False, id="rules.page-up"),
        Binding("pagedown", "move(10)", show=False, id="rules.page-down"),
        Binding("enter", "follow", "follow", id="rules.follow", tooltip="Go to the chain that this rule jumps to"),
        Binding("backspace", "return", "back", id="rules.back", tooltip="Go back to where you came from"),
    ]

    @dataclass
    class Moved(Message):
        """The cursor stands on another line."""

        text: str

    def __init__(self) -> None:
        super().__init__()
        self.book: Rulebook | None = None
        self.cursor = 0
        self.current: int | None = None
        self.wanted = ""
        self._trail: list[int] = []

    def open(self, book: Rulebook) -> None:
        """Show another dump from its beginning."""
        self.book, self.cursor, self.current, self._trail = book, 0, None, []
        self.set_count(len(book.lines))
        self.scroll_to(y=0, animate=False)

    def row(self, index: int, width: int) -> Line:
        """Paint one line."""
        if self.book is None:
            return ()
        text = self.book.lines[index]
        found = bool(self.wanted) and self.wanted in text.lower()
        return paint_rule(
            text, width, cursor=index == self.cursor and self.has_focus, current=index == self.current, found=found
        )

    def go(self, number: int | None, *, remember: bool = False) -> None:
        """Put the cursor on a line and bring it into sight."""
        if number is None or self.book is None:
            return
        if remember:
            self._trail.append(self.cursor)
        self.cursor = min(max(number, 0), len(self.book.lines) - 1)
        top = self.scroll_offset.y
        if not top <= self.cursor < top + self.size.height:
            self.scroll_to(y=max(self.cursor - self.size.height // 3, 0), animate=False)
        self.refresh()
        self.post_message(self.Moved(self.book.lines[self.cursor]))

    def mark(self, number: int | None) -> None:
        """Mark the rule of the hop that is shown, and bring it into sight."""
        if number != self.current:
            self.current = number
            self.go(number)

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self.go(self.cursor + by)

    def action_follow(self) -> None:
        """Go to the chain that this rule jumps to."""
        if self.book is not None:
            self.go(self.book.target_of(self.cursor), remember=True)

    def action_return(self) -> None:
        """Go back to where `follow` came from."""
        if self._trail:
            self.go(self._trail.pop())

    def on_focus(self) -> None:
        """Show the cursor."""
        self.refresh()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self.refresh()


class RulesPanel(Vertical):
    """Title, lines, and a line to search in."""

    help: ClassVar[Help] = _HELP
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "ask('find')", "search", id="rules.search", tooltip="Search the rules"),
        Binding("g", "ask('chain')", "chain", id="rules.chain", tooltip="Go to a chain by name"),
        Binding(
            "o", "other", "other dump", id="rules.other", tooltip="Show another node's rules, or the other family's"
        ),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._books: tuple[Rulebook, ...] = ()
        self._shown = -1
        self._asking = "find"
        self._hop: Hop | None = None

    def compose(self) -> ComposeResult:
        """Title, lines, search."""
        yield RulesTitle()
        yield RulesLines()
        yield RuleInFull()
        ask = Input(id="rules-ask", compact=True, classes="hidden")
        ask.help = _HELP  # type: ignore[attr-defined]  # our own attribute on Textual's widget
        yield ask

    def show_books(self, books: tuple[Rulebook, ...]) -> None:
        """Show the dumps of a recording, or of the live nodes."""
        self._books, self._shown = books, -1
        self._open(0)
        self.show_hop(self._hop)

    def show_hop(self, hop: Hop | None) -> None:
        """Follow the packet: its node's dump, and the rule of its hop."""
        self._hop = hop
        if hop is None or not self._books:
            return
        wanted = next((i for i, b in enumerate(self._books) if b.node == hop.node and b.family == _family(hop)), None)
        if wanted is None or not self.is_on_screen:
            return
        self._open(wanted)
        line_number = None
        if hop.rule is not None and hop.table and hop.chain and hop.rule_number:
            line_number = self._books[wanted].rule_line(hop.table, hop.chain, hop.rule_number)
        self.query_one(RulesLines).mark(line_number)

    @on(RulesLines.Moved)
    def _show_in_full(self, event: RulesLines.Moved) -> None:
        event.stop()
        self.query_one(RuleInFull).show(event.text)

    def on_show(self) -> None:
        """Catch up with the packet when the tab is opened."""
        self.show_hop(self._hop)

    def _open(self, index: int) -> None:
        if not 0 <= index < len(self._books) or index == self._shown:
            return
        self._shown = index
        book = self._books[index]
        self.query_one(RulesLines).open(book)
        self.query_one(RulesTitle).show(book.title)

    def action_other(self) -> None:
        """Show the next dump."""
        if self._books:
            self._open((self._shown + 1) % len(self._books))

    def action_ask(self, what: str) -> None:
        """Open the line to search in, or to name a chain in."""
        if not self._books:
            return
        self._asking = what
        ask = self.query_one("#rules-ask", Input)
        book = self._books[self._shown]
        names = sorted({name for _, name in book.chains})
        ask.suggester = SuggestFromList(names, case_sensitive=False) if what == "chain" else None
        ask.placeholder = "text to find; Enter: the next" if what == "find" else "name of a chain; → completes"
        ask.value = ""
        ask.remove_class("hidden")
        ask.focus()

    @on(Input.Submitted, "#rules-ask")
    def _answer(self, event: Input.Submitted) -> None:
        event.stop()
        rules, title = self.query_one(RulesLines), self.query_one(RulesTitle)
        book = self._books[self._shown]
        if self._asking == "find":
            rules.wanted = event.value.lower()
            number = book.find(event.value, rules.cursor)
        else:
            number = book.chain_line(event.value.strip())
            if number is not None:
                self._close()
        title.show(book.title, "" if number is not None else f"! {event.value!r} is not in these rules")
        rules.go(number, remember=self._asking == "chain")
        rules.refresh()

    def on_key(self, event: object) -> None:
        """Escape closes the search."""
        if getattr(event, "key", "") == "escape" and self.query_one("#rules-ask", Input).has_focus:
            event.stop()  # type: ignore[attr-defined]  # a textual Key
            self._close()

    def _close(self) -> None:
        ask = self.query_one("#rules-ask", Input)
        ask.add_class("hidden")
        self.query_one(RulesLines).wanted = ""
        self.query_one(RulesLines).focus()


def _family(hop: Hop) -> int:
    return 6 if hop.before.src.startswith("[") or hop.before.src.count(":") > 1 else 4
