"""The rules browser: what each command that shows a node's state prints, to scroll, search and follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from kplab.scene.listings import touched
from kplab.tui.help import Help
from kplab.tui.paint.lines import Line, Span, StyleName, line, spread, wrap
from kplab.tui.rulebook import Rulebook
from kplab.tui.widgets.painted import Painted
from kplab.tui.widgets.rules_lines import HELP, RulesLines


class RulesTitle(Painted):
    """Which dump this is."""

    help: ClassVar[Help] = HELP

    def __init__(self) -> None:
        super().__init__()
        self._text, self._note = "no rules were read yet", ""

    def show(self, text: str, note: str = "") -> None:
        """Show a title, and a note at its right."""
        self._text, self._note = text, note
        self.repaint()

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint one line."""
        notes = (self._note,) if self._note else ("/ search · g go to · ⏎ follow · ⌫ back · o other", "? keys", "")
        note = next((one for one in notes if len(self._text) + len(one) + 2 <= width), notes[-1])
        style: StyleName = "wrong" if self._note else "muted"
        return [spread(line(Span(self._text, "title")), line(Span(note, style)), width)]


class RuleInFull(Painted):
    """The line under the cursor, verbatim, as long as it is."""

    help: ClassVar[Help] = HELP

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


class RulesPanel(Vertical):
    """Title, lines, and a line to search in."""

    help: ClassVar[Help] = HELP
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "ask('find')", "search", id="rules.search", tooltip="Search the node's tables"),
        Binding("g", "ask('name')", "go to", id="rules.chain", tooltip="Go to a chain, set or virtual server by name"),
        Binding("o", "other", "other", id="rules.other", tooltip="Choose another command, or another node"),
    ]

    @dataclass
    class Choosing(Message):
        """Another listing is to be chosen; `chosen` is the number of the one that is shown."""

        prompts: tuple[str, ...]
        chosen: int

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._books: tuple[Rulebook, ...] = ()
        self._homes: Mapping[str, str] = {}
        self._shown = -1
        self._asking = "find"
        self._hops: tuple[Hop, ...] = ()
        self._followed: tuple[Hop, ...] | None = None

    def compose(self) -> ComposeResult:
        """Title, lines, search."""
        yield RulesTitle()
        yield RulesLines()
        yield RuleInFull()
        ask = Input(id="rules-ask", compact=True, classes="hidden")
        ask.help = HELP  # type: ignore[attr-defined]  # our own attribute on Textual's widget
        yield ask

    def show_books(self, books: tuple[Rulebook, ...], homes: Mapping[str, str]) -> None:
        """Show the listings of a recording, or of the live nodes; `homes` are the pods' nodes."""
        self._books, self._homes, self._shown, self._followed = books, homes, -1, None
        self.query_one(RulesLines).forget()
        self.show_hops(self._hops)

    def show_hops(self, hops: tuple[Hop, ...]) -> None:
        """Follow the packet: these are its hops so far, and the last one is shown."""
        self._hops = hops
        if not self._books or not self.is_on_screen:
            return
        self._open(max(self._shown, 0))
        if hops and hops != self._followed:
            self._followed = hops
            self._open(self._book_of(hops[-1]))
            self.query_one(RulesLines).mark(touched(self._books[self._shown].listing, hops, self._homes))

    def _book_of(self, hop: Hop) -> int:
        """Return the number of the book that a hop touched: the one that is shown, if it did that one too."""
        node = self._homes.get(hop.node, hop.node)
        beside = [i for i, book in enumerate(self._books) if book.node == node]
        order = [self._shown, *beside] if self._shown in beside else beside
        found = next((i for i in order if any(True for _ in self._books[i].listing.page.find(hop))), None)
        return found if found is not None else order[0] if order else self._shown

    def on_show(self) -> None:
        """Catch up with the packet when the tab is opened."""
        self.show_hops(self._hops)

    def open(self, index: int) -> None:
        """Show another book, with what the packet touched in it so far."""
        self._open(index)
        if self._books and self._hops:
            self.query_one(RulesLines).mark(touched(self._books[self._shown].listing, self._hops, self._homes))

    def _open(self, index: int) -> None:
        if not 0 <= index < len(self._books) or index == self._shown:
            return
        self._shown = index
        book = self._books[index]
        self.query_one(RulesLines).open(book)
        self.query_one(RulesTitle).show(book.listing.title)

    @on(RulesLines.Moved)
    def _show_in_full(self, event: RulesLines.Moved) -> None:
        event.stop()
        self.query_one(RuleInFull).show(event.text.strip())

    @on(RulesLines.Leads)
    def _follow(self, event: RulesLines.Leads) -> None:
        event.stop()
        book, lines = self._books[self._shown], self.query_one(RulesLines)
        here = book.line_of(event.name, lines.cursor)
        if here is not None:
            lines.go(here, remember=True)
            return
        for number in self._beside():
            line_number = self._books[number].section_line(event.name)
            if line_number is not None:
                self._go(number, line_number)
                return

    @on(RulesLines.Returned)
    def _return(self, event: RulesLines.Returned) -> None:
        event.stop()
        self.open(self._books.index(event.book))
        self.query_one(RulesLines).go(event.line)

    def _go(self, number: int, line_number: int) -> None:
        """Go to a line of another book; the way back is kept."""
        lines = self.query_one(RulesLines)
        lines.go(lines.cursor, remember=True, unfold=False)
        self.open(number)
        lines.go(line_number)

    def _beside(self) -> list[int]:
        """Return the numbers of the node's other books, from the one after this round to the one before."""
        count = len(self._books)
        after = [(self._shown + step) % count for step in range(1, count)]
        return [number for number in after if self._books[number].node == self._books[self._shown].node]

    def action_other(self) -> None:
        """Choose another listing."""
        if self._books:
            self.post_message(self.Choosing(tuple(book.listing.prompt for book in self._books), self._shown))

    def action_ask(self, what: str) -> None:
        """Open the line to search in, or to name a chain in."""
        if not self._books:
            return
        self._asking = what
        ask = self.query_one("#rules-ask", Input)
        names = self._books[self._shown].names
        ask.suggester = SuggestFromList(names, case_sensitive=False) if what == "name" else None
        ask.placeholder = "text to find; Enter: the next" if what == "find" else "name of a chain or set; → completes"
        ask.value = ""
        ask.remove_class("hidden")
        ask.focus()

    @on(Input.Submitted, "#rules-ask")
    def _answer(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip() if self._asking == "name" else event.value
        self.query_one(RulesLines).wanted = text.lower() if self._asking == "find" else ""
        found = self._search(text) if self._asking == "find" else self._named(text)
        if found is not None and found[0] == self._shown:
            self.query_one(RulesLines).go(found[1], remember=self._asking == "name")
        elif found is not None:
            self._go(*found)
        book = self._books[self._shown]
        note = "" if found is not None else f"! {event.value!r} is nowhere in {book.node}'s tables"
        self.query_one(RulesTitle).show(book.listing.title, note)
        self.query_one(RulesLines).refresh()
        if found is not None and self._asking == "name":
            self._close()

    def _search(self, text: str) -> tuple[int, int] | None:
        """Return the next hit as (book, line): in this book, in the node's others, then in this one's beginning."""
        after = self.query_one(RulesLines).cursor + 1
        places = [
            (self._shown, after, None),
            *((number, 0, None) for number in self._beside()),
            (self._shown, 0, after),
        ]
        for number, first, last in places:
            found = self._books[number].find(text, first, last)
            if found is not None:
                return number, found
        return None

    def _named(self, name: str) -> tuple[int, int] | None:
        """Return a section as (book, line): this book's, or one of the node's others."""
        for number in (self._shown, *self._beside()):
            found = self._books[number].section_line(name)
            if found is not None:
                return number, found
        return None

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
