"""The screen of a lesson: text at the left, the picture at the right, time and prompt beneath."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import ContentSwitcher

from kplab.course.lesson import Preset
from kplab.session.terminal import relay_shell
from kplab.tui.desk import Desk
from kplab.tui.feed import Feed
from kplab.tui.help import Help
from kplab.tui.messages import Failed, NamesKnown, NodesRead, StepChanged, Told
from kplab.tui.rulebook import rulebooks
from kplab.tui.screens.keys import KEYS, keys_text
from kplab.tui.screens.overlays import ChooseScreen, TextScreen, help_text, inside_text
from kplab.tui.screens.play import PlayActions
from kplab.tui.widgets.bars import PlaybackBar, PlayState, TabBar
from kplab.tui.widgets.lesson_panel import Choices, LessonPanel
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
WIDE = 160
FRAMES_A_SECOND = 30


class LessonScreen(PlayActions):
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
        self._tab = "walk"

    def compose(self) -> ComposeResult:
        """Title, lesson and picture, banners, timeline, playback, prompt."""
        frame = self.desk.frame()
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
                            yield ConntrackPanel(frame, id="conntrack")
                            yield RulesPanel(id="rules")
                            yield WirePanel(id="wire")
                    yield ConntrackPanel(frame, id="beside")
        yield BannerPanel(frame, self.desk.notices(), id="banners")
        yield TimelinePanel(frame, id="timeline")
        yield PlaybackBar(id="playback")
        if self.desk.session.live:
            yield PacketPrompt(id="prompt")

    async def on_mount(self) -> None:
        """Show the first step, and begin to read the lab."""
        desk = self.desk
        self._timer = self.set_interval(1 / FRAMES_A_SECOND, self._on_tick, pause=True)
        self._fit(self.size.width)
        if desk.session.live:
            self.set_interval(1.0, self._poll)
            self.feed.read(desk.session, desk.nodes())
        if desk.run is not None:
            await self.query_one(LessonPanel).show()
            self._offer_preset(desk.run.step.preset)
            if desk.session.live:
                self._busy("preparing the step")
                self.feed.enter(desk.run, desk.session)
        if desk.recording is not None:
            self._show_story()
        self.refresh_desk()

    # ---- showing ------------------------------------------------------------------------------------------

    def show_frame(self) -> None:
        """Give every panel the frame; each paints only if its part changed."""
        frame = self.desk.frame()
        for panel in self.query(FramePanel):
            panel.show(frame)
        self.query_one(WalkPanel).show(frame)
        self.query_one(WirePanel).show_hop(frame.hop)
        if self._tab == "rules":
            self._show_rule(frame.hop)
        self._show_bar()

    def _show_rule(self, hop: int) -> None:
        journey = self.desk.journey
        self.query_one(RulesPanel).show_hop(journey.hops[hop] if journey and 0 <= hop < len(journey.hops) else None)

    def _show_bar(self) -> None:
        playback = self.desk.playback
        state = PlayState(busy=self.desk.busy)
        if playback is not None:
            hops = len(playback.timeline.marks)
            state = PlayState(playback.playing, playback.speed, playback.hop, hops, self.desk.busy)
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

    def moved(self) -> None:
        """Run the ticker while it plays; let the lesson judge a journey that was seen to its end."""
        playback = self.desk.playback
        if playback is not None and playback.playing and self._ticking:
            self._timer.resume()
        else:
            self._timer.pause()
        self.show_frame()
        if self.desk.grade():
            self._graded()

    @work
    async def _graded(self) -> None:
        for panel in self.query(LessonPanel):
            await panel.show()
        run = self.desk.run
        if run is not None and self.has_class("narrow") and not self.has_class("lesson-side"):
            self.notify("✓ passed: F2 explains" if run.state.passed else "✗ not yet: F2 says why", markup=False)
        self.refresh_desk()

    def on_resize(self, event: Resize) -> None:
        """Choose a layout for the width."""
        self._fit(event.size.width)

    def _fit(self, width: int) -> None:
        self.set_class(width < NARROW, "narrow")
        self.set_class(width >= WIDE, "wide")
        self.set_class(self.desk.run is None, "no-lesson")

    # ---- what the feed says --------------------------------------------------------------------------------

    def on_told(self, message: Told) -> None:
        """Play a new story."""
        self.desk.busy = ""
        self.desk.told(message.journey, message.recording, self.clock())
        if self.has_class("narrow"):
            self.remove_class("lesson-side")
        self._show_story()
        self.refresh_desk()
        self.moved()

    def _show_story(self) -> None:
        desk = self.desk
        if desk.journey is None:
            return
        self.query_one(RulesPanel).show_books(desk.books)
        self.query_one(WirePanel).show_journey(desk.journey, desk.recording)
        for panel in self.query(ConntrackPanel):
            panel.show_journey()

    def on_nodes_read(self, message: NodesRead) -> None:
        """Show what the nodes hold now."""
        if self.desk.recording is None and len(message.states) > 1:
            self.desk.books = rulebooks(message.states)
            self.query_one(RulesPanel).show_books(self.desk.books)
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
        for panel in self.query(LessonPanel):
            await panel.show()
        self.refresh_desk()

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
        shown = self._tab == "conntrack" or self.has_class("wide")
        if desk.live_table and shown and not desk.busy and self.feed.idle and desk.nodes():
            self.feed.read(desk.session, (self._node(),))

    def _node(self) -> str:
        nodes = self.desk.nodes()
        frame = self.desk.frame()
        journey = self.desk.journey
        here = journey.hops[frame.hop].node if journey and frame.hop >= 0 else self.desk.sender
        namespace = self.desk.session.topology.namespace(here)
        node = namespace.node if namespace and namespace.node else here
        return node if node in nodes else nodes[0]

    def _busy(self, doing: str) -> None:
        self.desk.busy = doing
        self.refresh_desk()

    # ---- packets -------------------------------------------------------------------------------------------

    @on(PacketPrompt.Asked)
    def _asked(self, event: PacketPrompt.Asked) -> None:
        desk = self.desk
        desk.grade(early=True)
        self._busy("sending")
        self.feed.ask(desk.session, event.spec, desk.sender)
        self.set_focus(None)

    def action_write(self) -> None:
        """Go to the prompt."""
        for prompt in self.query(PacketPrompt):
            prompt.entry.focus()

    def action_client(self) -> None:
        """Change the client."""
        if self.desk.session.live:
            self.desk.next_client()
            self.refresh_desk()

    @work
    async def action_elsewhere(self) -> None:
        """Send what is written from another namespace."""
        if not self.desk.session.live:
            return
        options = [(name, name) for name in self.desk.senders()]
        chosen = await self.app.push_screen_wait(ChooseScreen("Send it from", options, self.desk.sender))
        if chosen is not None:
            self.desk.sender = chosen
            self.refresh_desk()
            self.query_one(PacketPrompt).submit()

    @work
    async def action_examples(self) -> None:
        """Choose an example."""
        presets = self._presets()
        if not presets or not self.desk.session.live:
            return
        options = [(f"{p.label}   {p.expression}", str(i)) for i, p in enumerate(presets)]
        chosen = await self.app.push_screen_wait(ChooseScreen("Examples", options))
        if chosen is not None:
            self._offer_preset(presets[int(chosen)])
            self.action_write()

    def _presets(self) -> tuple[Preset, ...]:
        run = self.desk.run
        if run is None:
            return EXAMPLES
        return ((run.step.preset,) if run.step.preset else ()) + run.lesson.presets

    def _offer_preset(self, preset: Preset | None) -> None:
        if preset is None or not self.desk.session.live:
            return
        self.desk.client, self.desk.sender = preset.client, preset.sender
        self.refresh_desk()
        self.query_one(PacketPrompt).write(preset.expression)

    # ---- tables --------------------------------------------------------------------------------------------

    def action_tab(self, name: str) -> None:
        """Open a tab."""
        self._tab = name
        self.query_one(ContentSwitcher).current = name
        self.query_one(TabBar).show(name)
        self.remove_class("lesson-side")
        if name == "rules":
            self._show_rule(self.desk.frame().hop)
            self.query_one("#rules RulesLines").focus()
        elif self.focused is None or self.focused.id not in {"prompt-input"}:
            self.set_focus(None)

    def action_unfold(self) -> None:
        """Unfold the walk."""
        self.query_one(WalkPanel).toggle_fold()

    def action_live(self) -> None:
        """Show conntrack as it is now, or as of the hop."""
        if not self.desk.session.live:
            return
        self.desk.live_table = not self.desk.live_table
        if self.desk.live_table:
            self.feed.read(self.desk.session, (self._node(),))
        else:
            for panel in self.query(ConntrackPanel):
                panel.show_journey()

    @work
    async def action_look(self, name: str = "") -> None:
        """Look inside a box."""
        topology = self.desk.session.topology
        if not name:
            options = [(f"{ns.name:<16} {ns.role}", ns.name) for ns in topology.namespaces]
            chosen = await self.app.push_screen_wait(ChooseScreen("Look inside", options, self.desk.sender))
            name = chosen or ""
        namespace = topology.namespace(name)
        if namespace is None:
            return
        nodes = self.desk.recording.nodes if self.desk.recording else ()
        state = next((one for one in nodes if one.node == name), None)
        self.app.push_screen(TextScreen(name, inside_text(namespace, state), markdown=False))

    # ---- the lesson ----------------------------------------------------------------------------------------

    def action_answer(self, index: int) -> None:
        """Choose an answer."""
        for choices in self.query(Choices):
            choices.action_choose(index)

    @on(Choices.Chosen)
    async def _chosen(self, event: Choices.Chosen) -> None:
        run = self.desk.run
        if run is not None and run.step.question is not None:
            run.predict(run.step.question.choices[event.index].id)
            await self._show_lesson()

    async def _show_lesson(self) -> None:
        for panel in self.query(LessonPanel):
            await panel.show()
        self.refresh_desk()

    async def action_hint(self) -> None:
        """Show the next hint."""
        if self.desk.run is not None and self.desk.run.hint() is not None:
            await self._show_lesson()
            self.query_one(LessonPanel).to_end()

    def action_reset(self) -> None:
        """Begin the step anew."""
        if self.desk.run is not None:
            self._busy("resetting the step")
            self.feed.reset(self.desk.run, self.desk.session)

    async def action_advance(self) -> None:
        """Go to the next step; says what is missing when this one is not done with."""
        run = self.desk.run
        if run is None:
            return
        if self.desk.grade(early=True):
            await self._show_lesson()
        if run.advance():
            await self._entered()
        elif not run.can_advance:
            self.notify(f"Not yet: {run.step.task}", markup=False)
        else:
            await self._show_lesson()

    async def action_back(self) -> None:
        """Go to the step before."""
        if self.desk.run is not None and self.desk.run.back():
            await self._entered()

    async def _entered(self) -> None:
        desk = self.desk
        if desk.run is None:
            return
        if self.has_class("narrow"):
            self.add_class("lesson-side")
        await self._show_lesson()
        self._offer_preset(desk.run.step.preset)
        if desk.session.live:
            self._busy("preparing the step")
            self.feed.enter(desk.run, desk.session)

    def action_check(self) -> None:
        """Check a repair."""
        run = self.desk.run
        if run is not None and run.step.repair is not None and self.desk.session.live:
            self._busy("checking")
            self.feed.check(run, self.desk.session)

    @work
    async def action_shell(self) -> None:
        """Open a shell in the lab; when it ends, a repair is checked."""
        desk = self.desk
        if not desk.session.live:
            return
        repair = desk.run.step.repair if desk.run else None
        names = tuple(ns.name for ns in desk.session.topology.namespaces)
        chosen = await self.app.push_screen_wait(
            ChooseScreen("A shell in", [(name, name) for name in names], repair.node if repair else self._node())
        )
        if chosen is None:
            return
        with self.app.suspend():
            relay_shell(desk.session, chosen)
        self.refresh(layout=True)
        self.action_check()

    def action_side(self) -> None:
        """Lesson or picture, on a narrow screen."""
        self.toggle_class("lesson-side")

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


EXAMPLES = (
    Preset("a SYN to a ClusterIP", 'IP(dst="10.96.0.42")/TCP(dport=80, flags="S")', "client"),
    Preset("a real HTTP request", "http://10.96.0.42/", "client", "curl"),
    Preset("a datagram to DNS", 'IP(dst="10.96.0.10")/UDP(dport=53)/Raw(load="hello")', "client"),
    Preset("ping a ClusterIP", 'IP(dst="10.96.0.42")/ICMP()', "client"),
)
"""Offered in free play."""
