"""Two modes side by side: both journeys in step, hop for hop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen

from kplab.model.journey import Journey
from kplab.model.topology import Topology
from kplab.scene.moments import InStep, Moment, Shown
from kplab.scene.side_by_side import Story, row_of
from kplab.trace.compare import clock_of
from kplab.tui.help import Help
from kplab.tui.paint.compare import paint_column, paint_difference, paint_tracks
from kplab.tui.paint.lines import Line, Span, clip, clip_line, line, spread, wrap
from kplab.tui.playback import SPEEDS
from kplab.tui.screens.overlays import TextScreen, help_text, hop_text
from kplab.tui.widgets.painted import Painted

STEP = 0.8
"""Seconds of a row at normal speed."""
ROOMY_HEIGHT = 34
"""Rows from which a difference may take three."""
TICKS = 10
"""A second."""
KEYS = (
    Binding("space", "toggle_play", "play / pause", id="compare.play", tooltip="Play, or pause"),
    Binding("right", "step(1)", "next hop", id="compare.on", tooltip="Both go on a hop"),
    Binding("left", "step(-1)", "hop before", id="compare.back", tooltip="Both go back a hop"),
    Binding("home", "seek(0)", "first hop", id="compare.home", tooltip="Go to the beginning"),
    Binding("end", "seek(1000000)", "last hop", id="compare.end", tooltip="Go to the end"),
    Binding("d", "differ(1)", "next difference", id="compare.differ", tooltip="Go to the next hop that differs"),
    Binding("D,b", "differ(-1)", "difference before", id="compare.differed", tooltip="Go to the one before"),
    Binding("l", "cycle(0, 1)", "left mode", id="compare.left", tooltip="Show another mode at the left"),
    Binding("r", "cycle(1, 1)", "right mode", id="compare.right", tooltip="Show another mode at the right"),
    Binding("L", "cycle(0, -1)", "left mode back", id="compare.left-back", tooltip="The one before at the left"),
    Binding("R", "cycle(1, -1)", "right mode back", id="compare.right-back", tooltip="The one before at the right"),
    Binding("x", "swap", "swap", id="compare.swap", tooltip="Swap left and right"),
    Binding("k", "entries", "conntrack / walk", id="compare.entries", tooltip="conntrack's entries, or the walk"),
    Binding("y", "why", "all of this hop", id="compare.why", tooltip="Both hops in full"),
    Binding("plus,equals_sign,right_square_bracket", "faster(1)", "faster", id="compare.faster", tooltip="Faster"),
    Binding("minus,left_square_bracket", "faster(-1)", "slower", id="compare.slower", tooltip="Slower"),
    Binding("question_mark,f1", "help", "help", id="compare.help", tooltip="What am I looking at?"),
    Binding("q,escape", "leave", "quit", id="compare.quit", tooltip="End the labs and leave"),
)
HELP = Help(
    "Two modes side by side",
    "The same packet through two proxy modes, aligned by what happens to it. Both columns go on together, hop for "
    "hop; where only one mode does something, the other waits.\n\n"
    "Each column, from above: where the packet is and how we know (`●` seen, `◐` rebuilt, `○` modelled); its way and "
    "the hooks of the node; its headers, a rewritten one with the old value before `⇒`; counts so far (rules tried, "
    "lookups, addresses rewritten, conntrack entries made); the rules tried or the map asked; why; what comes next.\n\n"
    "`≠` says what differs in this hop, `=` that nothing does. Beneath, a mark for each hop of each column; `·` where "
    "it has none.\n\nA mode *from the guest* ran on another kernel: its counts may be compared, its times may not.\n\n"
    "`←` `→` hop · `d` `b` next difference, the one before · `space` plays · `l` `r` other mode at the left, right · "
    "`x` swaps · `k` conntrack · `y` all of this hop · `+` `-` speed · `Home` `End` · `q` leaves",
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A mode that is being run."""

    name: str
    doing: str = "waits for its turn"


@dataclass(frozen=True, slots=True)
class Missing:
    """A mode that could not be run."""

    name: str
    reason: str


ColumnState = Story | Waiting | Missing


class Drawn(Painted):
    """A panel whose lines another one makes."""

    help: ClassVar[Help] = HELP

    def __init__(self, draw: Callable[[int, int], Sequence[Line]], *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._draw = draw

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Return what was drawn."""
        return self._draw(width, height)


class CompareScreen(Screen[None]):
    """Shows two of several modes; those that are still being run come in by `take`."""

    BINDINGS: ClassVar[list[BindingType]] = list(KEYS)
    AUTO_FOCUS = ""
    CSS = """
    CompareScreen Drawn { height: 1; }
    CompareScreen #columns { height: 1fr; }
    CompareScreen #column-0 { height: 1fr; padding: 0 1 0 0; }
    CompareScreen #column-1 { height: 1fr; padding: 0 0 0 1; border-left: solid $kp-rule; }
    CompareScreen #differs { height: 2; background: $panel; }
    CompareScreen.tall #differs { height: 3; }
    CompareScreen #tracks { height: 2; }
    CompareScreen #keys { background: $surface; }
    CompareScreen #heading { background: $panel; }
    """

    def __init__(
        self,
        names: Sequence[str],
        heading: str,
        clock: Callable[[], float],
        *,
        ticking: bool = True,
        over: bool = False,
    ) -> None:
        """Begin with every mode waiting; `over` says that another screen lies beneath, to which leaving goes back."""
        super().__init__()
        self._states: dict[str, ColumnState] = {name: Waiting(name) for name in names}
        self._columns = [names[0], names[min(1, len(names) - 1)]]
        self._heading, self._clock, self._ticking, self._over = heading, clock, ticking, over
        self._step: InStep | None = None
        self._shown: Moment | None = None
        self._entries = False
        self._speed = 1.0
        self._due: float | None = None
        self.position = 0

    # ---- what is shown --------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Heading, two columns, what differs, the tracks, the keys."""
        yield Drawn(self._paint_heading, id="heading")
        with Horizontal(id="columns"):
            yield Drawn(lambda width, height: self._paint_column(0, width, height), id="column-0")
            yield Drawn(lambda width, height: self._paint_column(1, width, height), id="column-1")
        yield Drawn(self._paint_difference, id="differs")
        yield Drawn(self._paint_tracks, id="tracks")
        yield Drawn(self._paint_keys, id="keys")

    def on_mount(self) -> None:
        """Start the clock."""
        if self._ticking:
            self.set_interval(1 / TICKS, lambda: self.tick(self._clock()))

    def on_resize(self) -> None:
        """Choose a layout for the height."""
        self.set_class(self.size.height >= ROOMY_HEIGHT, "tall")

    def take(self, state: ColumnState) -> None:
        """Take what is known of a mode now."""
        self._states[state.name] = state
        if state.name in self._columns:
            self._align()
        self._show()

    def story(self, column: int) -> ColumnState:
        """Return what stands in the left (0) or right (1) column."""
        return self._states[self._columns[column]]

    def _align(self, keep: int = 0) -> None:
        """Lay the two out anew; the place in column `keep` stays."""
        before = self._step.rows[self.position].at[keep] if self._step and self._step.rows else -1
        left, right = (self.story(0), self.story(1))
        if not isinstance(left, Story) and not isinstance(right, Story):
            self._step = None
            return
        self._step = InStep(_story(left), _story(right))
        self.position = row_of(self._step.rows, keep, before) if before >= 0 else 0

    def _show(self) -> None:
        self._shown = self._step.moment(self.position) if self._step else None
        for part in self.query(Drawn):
            part.repaint()

    def tick(self, now: float) -> None:
        """Go on when it is time."""
        if self._due is None or now < self._due or self._step is None:
            return
        if self.position + 1 >= len(self._step.rows):
            self._due = None
        else:
            self.position += 1
            self._due = now + STEP / self._speed
        self._show()

    # ---- painting -------------------------------------------------------------------------------------------

    def _paint_heading(self, width: int, height: int) -> list[Line]:
        moment = self._shown
        right = line(Span("no hop yet", "muted"))
        if moment is not None and self._step is not None:
            way = "request" if moment.row.direction == "request" else "reply"
            right = line(Span(f"{way}: {moment.row.what}", "strong"),
                         Span(f"  {moment.number + 1}/{len(self._step.rows)}", "title"))  # fmt: skip
        return [spread(line(Span(f" {self._heading}", "title")), (*right, Span(" ")), width)]

    def _paint_column(self, column: int, width: int, height: int) -> list[Line]:
        state = self.story(column)
        head = self._paint_name(column, state, width)
        match state:
            case Waiting():
                return [head, (), line(Span("… ", "now"), Span(clip(state.doing, width - 2)))]
            case Missing():
                told = [line(Span(text, "wrong")) for text in wrap(f"left out: {state.reason}", width, height - 2)]
                return [head, (), *told]
            case Story():
                pass
        shown = self._of(column)
        if shown is None or self._step is None:
            return [head, (), line(Span(clip(state.journey.outcome, width), "muted"))]
        said = self._step.banners(column)
        warned = [clip_line(line(Span(f"! {banner.text}", "wrong")), width) for banner in said[:1]]
        rows = [head, *warned]
        return [*rows, *paint_column(shown, width, height - len(rows), entries=self._entries)]

    def _paint_name(self, column: int, state: ColumnState, width: int) -> Line:
        names = list(self._states)
        place = f"{names.index(state.name) + 1}/{len(names)}"
        where = ""
        if isinstance(state, Story):
            guest = clock_of(state.sandbox).startswith("microvm")
            where = "from the guest" if guest else clock_of(state.sandbox)
        key = "l" if column == 0 else "r"
        left = line(Span(state.name, "title"), Span(f" {where}", "notice" if "guest" in where else "muted"))
        return spread(left, line(Span(key, "key"), Span(f" mode {place}", "muted")), width)

    def _of(self, column: int) -> Shown | None:
        moment = self._shown
        return None if moment is None else (moment.left, moment.right)[column]

    def _paint_difference(self, width: int, height: int) -> list[Line]:
        return paint_difference(self._shown.difference if self._shown else None, width, height)

    def _paint_tracks(self, width: int, height: int) -> list[Line]:
        if self._step is None:
            return []
        tracks = [(self._columns[n], self._step.track(n)) for n in (0, 1)]
        return paint_tracks(tracks, self.position, width)

    def _paint_keys(self, width: int, height: int) -> list[Line]:
        playing = "❚❚ playing" if self._due is not None else "▶ paused"
        left = line(Span(f" {playing} ", "now", "screen.toggle_play"), Span(f"{self._speed:g}x"))
        words = "●seen ◐rebuilt ○modelled · ←→ hop · d difference · l r mode · ? help"
        short = "●seen ◐rebuilt ○modelled · ←→ d l r · ?"
        fits = next((text for text in (words, short) if len(text) + 20 <= width), "? help")
        return [spread(left, line(Span(fits, "muted"), Span(" ")), width)]

    # ---- keys -----------------------------------------------------------------------------------------------

    def action_step(self, by: int) -> None:
        """Go a hop on or back."""
        self.action_seek(self.position + by)

    def action_seek(self, number: int) -> None:
        """Go to a row (0-based), and stand there."""
        self._due = None
        if self._step is not None and self._step.rows:
            self.position = min(max(number, 0), len(self._step.rows) - 1)
        self._show()

    def action_differ(self, by: int) -> None:
        """Go to the next row that differs."""
        if self._step is not None:
            self.action_seek(self._step.next_difference(self.position, by))

    def action_toggle_play(self) -> None:
        """Play, or pause; from the beginning when the end was reached."""
        if self._due is not None or self._step is None:
            self._due = None
        else:
            if self.position + 1 >= len(self._step.rows):
                self.position = 0
            self._due = self._clock() + STEP / self._speed
        self._show()

    def action_faster(self, by: int) -> None:
        """Play faster (1) or slower (-1)."""
        self._speed = SPEEDS[min(max(SPEEDS.index(self._speed) + by, 0), len(SPEEDS) - 1)]
        self._show()

    def action_cycle(self, column: int, by: int) -> None:
        """Show the next mode in a column, other than the one beside it; the other column stays where it is."""
        names = [name for name in self._states if name != self._columns[1 - column]]
        self._columns[column] = names[(names.index(self._columns[column]) + by) % len(names)]
        self._align(1 - column)
        self._show()

    def action_swap(self) -> None:
        """Swap the columns."""
        self._columns.reverse()
        before = self._step.rows[self.position].at[0] if self._step and self._step.rows else -1
        self._align()
        if self._step is not None:
            self.position = row_of(self._step.rows, 1, before)
        self._show()

    def action_entries(self) -> None:
        """Show conntrack's entries in place of the walk, or the walk again."""
        self._entries = not self._entries
        self._show()

    def action_why(self) -> None:
        """Show both hops in full."""
        parts = []
        for shown in (self._of(0), self._of(1)):
            if shown is not None and shown.hop is not None:
                parts.append(f"── {shown.story.name} ──\n{hop_text(shown.hop)}")
        if parts:
            differs = self._shown.difference.text if self._shown else ""
            self.app.push_screen(TextScreen("This hop", f"{differs}\n\n" + "\n\n".join(parts), markdown=False))

    def action_help(self) -> None:
        """Say what is to be seen."""
        self.app.push_screen(TextScreen("What am I looking at?", help_text([HELP])))

    def action_leave(self) -> None:
        """Leave: to the screen beneath, or altogether."""
        if self._over:
            self.dismiss()
        else:
            self.app.exit(return_code=0)


def _story(state: ColumnState) -> Story:
    """Return a mode's story; of one that has none, an empty one, beside which the other goes alone."""
    if isinstance(state, Story):
        return state
    nothing = Journey(mode=state.name, packet="", sender="", complete=True, lost=0, outcome="", hops=())
    return Story(state.name, "", nothing, Topology((), ()))
