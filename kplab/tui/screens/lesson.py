"""The screen of a lesson: text at the left, the picture at the right, time and prompt beneath."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import ContentSwitcher

from kplab.tui.desk import Desk
from kplab.tui.feed import Feed
from kplab.tui.help import Help
from kplab.tui.messages import Failed, NamesKnown, NodesRead, StepChanged, Told
from kplab.tui.rulebook import rulebooks
from kplab.tui.screens.beside import BesideActions
from kplab.tui.screens.keys import KEYS, keys_text
from kplab.tui.screens.overlays import TextScreen, help_text
from kplab.tui.screens.packets import PacketActions
from kplab.tui.screens.play import PlayActions
from kplab.tui.screens.study import StudyActions
from kplab.tui.screens.tables import TableActions
from kplab.tui.widgets.bars import PlaybackBar, PlayState, TabBar
from kplab.tui.widgets.lesson_panel import LessonPanel, Standing
from kplab.tui.widgets.lookup_panel import LookupPanel
from kplab.tui.widgets.panels import (
    BannerPanel,
    ConntrackPanel,
    FramePanel,
    HeadersPanel,
    MapPanel,
    StoryPanel,
    TimelinePanel,
    TitleBar,
)
from kplab.tui.widgets.prompt import PacketPrompt
from kplab.tui.widgets.rules_panel import RulesPanel
from kplab.tui.widgets.walk_panel import WalkPanel
from kplab.tui.widgets.wire_panel import WirePanel

NARROW = 100
"""Columns below which lesson and picture are two sides."""
CRAMPED = (140, 26)
"""So they are below these columns and rows together: a question would not leave room for a text beside the picture."""
WIDE = 180
ROOMY = 134
"""Columns from which the lesson gets more of them."""
LOW, SHORT, TINY = 40, 30, 24
"""Rows below which gaps between parts go, then the parts that are said elsewhere, then the task."""
FRAMES_A_SECOND = 30


class LessonScreen(PlayActions, PacketActions, TableActions, StudyActions, BesideActions):
    """Shows a desk. Without a lesson it is the picture alone; without a live lab it has no prompt."""

    BINDINGS: ClassVar[list[BindingType]] = list(KEYS)
    AUTO_FOCUS = ""
    help: ClassVar[Help] = Help(
        "kplab",
        "Left: the lesson. Right: the cluster with the packet on it, where it is and its headers, why the kernel "
        "does what it does, "
        "and the tables. Beneath: time, and the prompt.\n\n" + keys_text(),
    )

    def __init__(self, desk: Desk, feed: Feed, clock: Callable[[], float], *, ticking: bool = True) -> None:
        super().__init__()
        self.desk = desk
        self.feed = feed
        self.clock = clock
        self._ticking = ticking

    def compose(self) -> ComposeResult:
        """Title, lesson and picture, banners, timeline, playback, prompt."""
        frame = self.desk.frame()
        live = self.desk.session.live
        yield TitleBar(*self.desk.title(), id="title")
        with Horizontal(id="body"):
            if self.desk.run is not None:
                yield LessonPanel(self.desk.run, id="lesson")
            with Vertical(id="picture"):
                yield MapPanel(frame, id="map")
                yield HeadersPanel(frame, id="headers")
                yield StoryPanel(frame, id="story")
                with Horizontal(id="tables"):
                    with Vertical(id="tabbed"):
                        yield TabBar(id="tabs")
                        with ContentSwitcher(initial="walk", id="switch"):
                            yield WalkPanel(id="walk")
                            yield ConntrackPanel(frame, has_live=live, id="conntrack")
                            yield RulesPanel(id="rules")
                            yield LookupPanel(frame, id="lookup")
                            yield WirePanel(id="wire")
                    yield ConntrackPanel(frame, has_live=live, id="beside")
        yield BannerPanel(frame, self.desk.notices(), id="banners")
        yield TimelinePanel(frame, id="timeline")
        yield PlaybackBar(id="playback")
        if self.desk.session.live:
            yield PacketPrompt(id="prompt")

    async def on_mount(self) -> None:
        """Show the first step, and begin to read the lab."""
        desk = self.desk
        self._timer = self.set_interval(1 / FRAMES_A_SECOND, self._on_tick, pause=True)
        self._fit(*self.size)
        if desk.session.live:
            self.set_interval(1.0, self._poll)
            self.feed.read(desk.session, desk.nodes())
        if desk.run is not None:
            await self.begin_step(desk.run)
        if desk.recording is not None:
            self._show_story()
        self.refresh_desk()
        self.moved()

    # ---- showing ------------------------------------------------------------------------------------------

    def show_frame(self) -> None:
        """Give every panel the frame; each paints only if its part changed."""
        frame = self.desk.frame()
        for panel in self.query(FramePanel):
            panel.show(frame)
        self.query_one(WalkPanel).show(frame)
        self.query_one(WirePanel).show_hop(frame.hop)
        if self.open_tab == "rules":
            self.show_rule()
        tried = f"tried {frame.walk.tried:,}" if frame.walk and self.has_class("short") else ""
        self.query_one(TabBar).note(tried)
        self._show_bar()

    def show_rule(self) -> None:
        """Bring the rule of the hop into sight, in the rules browser."""
        journey, hop = self.desk.journey, self.desk.frame().hop
        self.query_one(RulesPanel).show_hops(journey.hops[: hop + 1] if journey else ())

    def _show_bar(self) -> None:
        playback = self.desk.playback
        side = ""
        if self.has_class("narrow") and self.desk.run is not None:
            side = "F2 picture" if self.has_class("lesson-side") else "F2 lesson"
        state = PlayState(busy=self.desk.busy, side=side)
        if playback is not None:
            hops = len(playback.timeline.marks)
            state = PlayState(playback.playing, playback.speed, playback.hop, hops, self.desk.busy, side)
        self.query_one(PlaybackBar).show(state)

    def refresh_desk(self) -> None:
        """Show all that is not a part of the frame: title, banners, prompt."""
        desk = self.desk
        self.query_one(TitleBar).show(*desk.title())
        self.query_one(BannerPanel).notice(desk.notices())
        for prompt in self.query(PacketPrompt):
            prompt.set_up(desk.names, desk.sender, desk.client, desk.blocked())
        self.show_frame()

    def tick(self, now: float) -> None:
        """Show the moment `now`."""
        playback = self.desk.playback
        if playback is None:
            return
        playback.advance(now)
        self.show_frame()
        if not playback.playing:
            self.moved()

    def _on_tick(self) -> None:
        self.tick(self.clock())

    @property
    def ticks(self) -> bool:
        """Whether the ticker runs."""
        playback = self.desk.playback
        return self._ticking and playback is not None and playback.playing

    def moved(self) -> None:
        """Run the ticker while it plays; let the lesson judge a journey that was seen to its end."""
        if self.ticks:
            self._timer.resume()
        else:
            self._timer.pause()
        self.show_frame()
        if self.desk.grade():
            self._graded()

    async def show_lesson(self) -> None:
        """Show how the step stands."""
        desk = self.desk
        for panel in self.query(LessonPanel):
            await panel.show(Standing(desk.watching, desk.session.live, desk.remark))
        self.refresh_desk()

    @work(group="grading")
    async def _graded(self) -> None:
        await self.show_lesson()
        run = self.desk.run
        if run is not None and self.has_class("narrow") and not self.has_class("lesson-side"):
            self.notify("✓ passed: F2 explains" if run.state.passed else "✗ not yet: F2 says why", markup=False)

    def on_resize(self, event: Resize) -> None:
        """Choose a layout for the width."""
        self._fit(*event.size)

    def _fit(self, width: int, height: int) -> None:
        self.set_class(height < LOW, "low")
        self.set_class(height < SHORT, "short")
        self.set_class(height < TINY, "tiny")
        self.set_class(width >= ROOMY, "roomy")
        self.set_class(width < NARROW or (width < CRAMPED[0] and height < CRAMPED[1]), "narrow")
        self.set_class(width >= WIDE, "wide")
        self.set_class(self.desk.run is None, "no-lesson")

    # ---- what the feed says --------------------------------------------------------------------------------

    async def on_told(self, message: Told) -> None:
        """Play a new story."""
        self.desk.busy = ""
        self.desk.told(message.journey, message.recording, self.clock())
        if self.has_class("narrow"):
            self.remove_class("lesson-side")
        self._show_story()
        await self.show_lesson()
        self.moved()

    def _show_story(self) -> None:
        desk = self.desk
        if desk.journey is None:
            return
        lookups = desk.playback is not None and desk.playback.timeline.has_lookups
        self.query_one(TabBar).offer_lookup(lookups)
        if self.open_tab == "lookup" and not lookups:
            self.action_tab("walk")
        self.query_one(RulesPanel).show_books(desk.books, desk.homes)
        self.query_one(LookupPanel).beside(desk.recording)
        self.query_one(WirePanel).show_journey(desk.journey, desk.recording)
        for panel in self.query(ConntrackPanel):
            panel.show_journey()

    def on_nodes_read(self, message: NodesRead) -> None:
        """Show what the nodes hold now."""
        if self.desk.recording is None and len(message.states) > 1:
            self.desk.books = rulebooks(message.states)
            self.query_one(RulesPanel).show_books(self.desk.books, self.desk.homes)
        if self.desk.live_table and message.states:
            state = message.states[0]
            for panel in self.query(ConntrackPanel):
                panel.show_live(f"{state.node} · conntrack, live", state.conntrack_before)

    def on_names_known(self, message: NamesKnown) -> None:
        """Complete the cluster's names."""
        self.desk.names = message.names
        self.refresh_desk()

    async def on_step_changed(self, message: StepChanged) -> None:
        """Show how the step stands."""
        self.desk.busy = ""
        await self.show_lesson()

    def on_failed(self, message: Failed) -> None:
        """Show an error in its place: under the prompt, or as a banner."""
        self.desk.busy = ""
        if message.doing == "sending":
            self.refresh_desk()
            for prompt in self.query(PacketPrompt):
                prompt.fail(message.error)
            return
        told = " · ".join(part.strip() for part in str(message.error).splitlines())
        self.desk.trouble = (f"{message.doing}: {told}",)
        self.refresh_desk()

    def _poll(self) -> None:
        desk = self.desk
        shown = self.open_tab == "conntrack" or self.has_class("wide")
        if desk.live_table and shown and not desk.busy and self.feed.idle and desk.nodes():
            self.feed.read(desk.session, (self.node_in_sight(),))

    # ---- help ----------------------------------------------------------------------------------------------

    def action_help(self) -> None:
        """Explain the panel that has the focus, or the whole screen."""
        helps = list(_helps(self.focused)) if self.focused is not None else []
        if not helps or helps == [self.help]:
            shown = [widget for widget in self.query(Widget) if widget.display and widget.is_on_screen]
            helps = [self.help, *dict.fromkeys(_help_of(widget) for widget in shown if _help_of(widget) is not None)]  # type: ignore[list-item]
        self.app.push_screen(TextScreen("What am I looking at?", help_text(helps)))


def _help_of(widget: object) -> Help | None:
    found = getattr(widget, "help", None)
    return found if isinstance(found, Help) else None


def _helps(widget: Widget | None) -> Iterable[Help]:
    node: object | None = widget
    while node is not None and not isinstance(node, Screen):
        found = _help_of(node)
        if found is not None:
            yield found
            return
        node = getattr(node, "parent", None)
