"""The packet prompt: one line to write in, and one beneath it that completes, or points at what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label

from kplab.errors import ExpressionError, KplabError
from kplab.model.completion import Completion, KnownName
from kplab.model.packet import Client, SendSpec
from kplab.tui.asking import MEANINGS, PROMPTS, complete_request, parse_request, translate
from kplab.tui.help import Help
from kplab.tui.paint.lines import Line, Span, clip_line, line, width_of
from kplab.tui.widgets.painted import Painted

_HELP = Help(
    "Packet prompt",
    "Write the packet as in scapy: layers joined by `/`, fields as keywords, values as literals:\n\n"
    '    IP(dst="10.96.0.42")/TCP(dport=80, flags="S")\n\n'
    "`Tab` completes layers, fields, Service names and addresses; `↑` `↓` recall what was sent; `Enter` sends; `Esc` "
    "leaves the "
    "prompt. What is left out (source, source port, sequence number) the lab fills in. The text is parsed, never "
    "run.\n\n"
    "Outside the prompt: `e` examples, `f` send again from elsewhere, `c` another client (scapy, curl, tcp, udp): a "
    "real client's "
    "whole connection is followed.",
)


class PacketInput(Input):
    """The line to write in. Keys that mean something elsewhere are ordinary letters here."""

    help: ClassVar[Help] = _HELP
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "recall(-1)", "earlier", show=False, id="prompt.earlier", tooltip="Recall what was sent before"),
        Binding("down", "recall(1)", "later", show=False, id="prompt.later", tooltip="Go back to what was sent later"),
        Binding(
            "tab", "complete", "complete", show=False, id="prompt.complete", tooltip="Complete what is being typed"
        ),
        Binding("escape", "leave", "leave", show=False, id="prompt.leave", tooltip="Leave the prompt"),
    ]

    @dataclass
    class Recall(Message):
        """An earlier (-1) or later (1) line is wanted."""

        by: int

    class Complete(Message):
        """A completion is wanted."""

    def action_recall(self, by: int) -> None:
        """Ask for an earlier or later line."""
        self.post_message(self.Recall(by))

    def action_complete(self) -> None:
        """Ask for a completion."""
        self.post_message(self.Complete())

    def action_leave(self) -> None:
        """Leave the prompt."""
        self.screen.set_focus(None)


class PromptHint(Painted):
    """The line beneath: completions, an error at its place, or what Enter will do."""

    help: ClassVar[Help] = _HELP

    def __init__(self) -> None:
        super().__init__()
        self._line: Line = ()

    def say(self, painted: Line) -> None:
        """Show a line."""
        self._line = painted
        self.repaint()

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint it."""
        return [clip_line(self._line, width)]


class PacketPrompt(Vertical):
    """Prompt and hint. Posts `Asked` for text that can be sent."""

    help: ClassVar[Help] = _HELP

    @dataclass
    class Asked(Message):
        """A packet or an exchange was asked for."""

        spec: SendSpec
        text: str

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._client: Client = "scapy"
        self._sender = ""
        self._names: tuple[KnownName, ...] = ()
        self._history: list[tuple[Client, str]] = []
        self._recalled = 0
        self._error: ExpressionError | None = None
        self._blocked = ""
        self._refused = ""

    def compose(self) -> ComposeResult:
        """A label and an input; a hint beneath."""
        with Horizontal(id="prompt-line"):
            yield Label(PROMPTS["scapy"], id="prompt-label")
            yield PacketInput(id="prompt-input", compact=True, select_on_focus=False)
        yield PromptHint()

    @property
    def entry(self) -> PacketInput:
        """The line to write in."""
        return self.query_one(PacketInput)

    @property
    def text(self) -> str:
        """What is written."""
        return self.entry.value

    def set_up(self, names: tuple[KnownName, ...], sender: str, client: Client, blocked: str = "") -> None:
        """Set what completes, who sends and how, and why nothing can be sent now, if so."""
        changed = client != self._client
        if blocked != self._blocked:
            self._refused = ""
        self._names, self._sender, self._blocked = names, sender, blocked
        if changed:
            self._client = client
            self.query_one("#prompt-label", Label).update(PROMPTS[client])
            self.entry.value = translate(self.text, client)
        self._hint()

    def write(self, text: str) -> None:
        """Put a text into the prompt, the cursor behind it."""
        self.entry.value = text
        self.entry.cursor_position = len(text)

    def fail(self, error: KplabError) -> None:
        """Say that the lab refused it; `ExpressionError` points at its place."""
        if isinstance(error, ExpressionError):
            self._error = error
        else:
            self._refused = "! " + " · ".join(part.strip() for part in str(error).splitlines())
        self._hint()

    @on(Input.Changed, "#prompt-input")
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._error, self._refused = None, ""
        self._hint()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Show what may be typed."""
        self._hint()

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        """Show what can be done."""
        self._hint()

    @on(Input.Submitted, "#prompt-input")
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.submit()

    def submit(self) -> None:
        """Send what is written, or show what is wrong with it in its place."""
        self._refused = f"! {self._blocked}" if self._blocked else ""
        if self._blocked:
            self._hint()
            return
        try:
            spec = parse_request(self.text, self._client)
        except ExpressionError as error:
            self._error = error
            self.entry.cursor_position = min(error.position, len(self.text))
            self.call_after_refresh(self._hint)
            return
        if not self._history or self._history[-1] != (self._client, self.text):
            self._history.append((self._client, self.text))
        self._recalled = len(self._history)
        self.post_message(self.Asked(spec, self.text))

    @on(PacketInput.Recall)
    def _recall(self, event: PacketInput.Recall) -> None:
        event.stop()
        mine = [text for client, text in self._history if client == self._client]
        at = min(max(min(self._recalled, len(mine)) + event.by, 0), len(mine))
        self._recalled = at
        self.write(mine[at] if at < len(mine) else "")

    @on(PacketInput.Complete)
    def _complete(self, event: PacketInput.Complete) -> None:
        event.stop()
        options = self._completions()
        if not options:
            return
        first = options[0]
        entry = self.entry
        entry.value = entry.value[: first.start] + first.insert + entry.value[first.end :]
        entry.cursor_position = first.start + len(first.insert)

    def _completions(self) -> tuple[Completion, ...]:
        return complete_request(self.text, self.entry.cursor_position, self._client, self._names)

    def _hint(self) -> None:
        hint = self.query_one(PromptHint)
        if self._error is not None:
            hint.say(self._error_line(self._error))
        elif self._refused:
            hint.say(line(Span(self._refused, "wrong")))
        elif self.entry.has_focus:
            hint.say(self._typing_line())
        else:
            hint.say(self._idle_line())

    def _error_line(self, error: ExpressionError) -> Line:
        """Point at the part that is wrong, under its very column, and say what is wrong beside it."""
        column = len(PROMPTS[self._client]) + 1 + error.position - int(self.entry.scroll_offset.x)
        caret = "^" * min(max(error.length, 1), 12)
        message = f"{error.tried}: {error.happened}" if error.happened else error.tried
        width = self.size.width
        if column + len(caret) + len(message) + 2 <= width or column < width // 2:
            return line(Span(" " * max(column, 0)), Span(caret, "wrong"), Span(f" ! {message}", "wrong"))
        before = f"! {message} "
        room = max(column - len(before), 0)
        return line(Span(clipped(before, column), "wrong"), Span(" " * room), Span(caret, "wrong"))

    def _typing_line(self) -> Line:
        options = self._completions()
        indent = Span(" " * (len(PROMPTS[self._client]) + 1))
        if not options:
            return line(indent, Span(f"⏎ send from {self._sender}", "muted"), Span("   Esc leaves the prompt", "muted"))
        first, *more = options
        rest = "  ".join(option.insert for option in more[:12])
        return line(
            indent, Span("Tab ", "key"), Span(first.insert, "strong"), Span(f" {first.detail}   ", "muted"),
            Span(rest, "muted"),
        )  # fmt: skip

    def _idle_line(self) -> Line:
        indent = Span(" " * (len(PROMPTS[self._client]) + 1))
        if self._blocked:
            return line(indent, Span(self._blocked, "muted"))
        sends = line(indent, Span("⏎", "now"), Span(f" send from {self._sender}", "muted"))
        means = line(Span(f": {MEANINGS[self._client]}", "muted"))
        keys = line(
            Span("   /", "key"), Span(" write  ", "muted"), Span("e", "key"), Span(" examples  ", "muted"),
            Span("f", "key"), Span(" from elsewhere  ", "muted"), Span("c", "key"), Span(" client", "muted"),
        )  # fmt: skip
        whole = (*sends, *means, *keys)
        return whole if width_of(whole) <= self.size.width else (*sends, *keys)


def clipped(text: str, width: int) -> str:
    """Cut a message so that it ends before `width`."""
    return text if len(text) <= width else text[: max(width - 2, 0)] + "… "
