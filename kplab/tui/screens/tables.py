"""Tables: which one is open, and what is inside a box or a hop."""

from __future__ import annotations

from textual import on, work
from textual.widgets import ContentSwitcher

from kplab.tui.screens.base import DeskScreen
from kplab.tui.screens.overlays import ChooseScreen, TextScreen, hop_text, inside_text
from kplab.tui.widgets.bars import TabBar
from kplab.tui.widgets.panels import ConntrackPanel
from kplab.tui.widgets.rules_panel import RulesPanel
from kplab.tui.widgets.walk_panel import WalkPanel


class TableActions(DeskScreen):
    """Actions of the keys in `keys.TABLES`."""

    open_tab = "walk"

    def show_rule(self) -> None:
        """Bring the rule of the hop into sight."""
        raise NotImplementedError

    def action_tab(self, name: str) -> None:
        """Open a tab."""
        if name == "lookup" and not (self.desk.playback and self.desk.playback.timeline.has_lookups):
            self.notify("No map and no IPVS was asked in this journey.", markup=False)
            return
        self.open_tab = name
        self.query_one(ContentSwitcher).current = name
        self.query_one(TabBar).show(name)
        self.remove_class("lesson-side")
        if name == "rules":
            self.show_rule()
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
            self.feed.read(self.desk.session, (self.node_in_sight(),))
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

    @on(RulesPanel.Choosing)
    @work
    async def _choose_listing(self, event: RulesPanel.Choosing) -> None:
        options = [(prompt, str(number)) for number, prompt in enumerate(event.prompts)]
        chosen = await self.app.push_screen_wait(ChooseScreen("Show", options, str(event.chosen)))
        if chosen is not None:
            self.query_one(RulesPanel).open(int(chosen))

    def action_why(self) -> None:
        """Tell all of a hop: the sentence in full, the rule verbatim, headers, evidence."""
        journey, frame = self.desk.journey, self.desk.frame()
        if journey is not None and frame.hop >= 0:
            hop = journey.hops[frame.hop]
            self.app.push_screen(TextScreen(f"hop {hop.n} of {len(journey.hops)}", hop_text(hop), markdown=False))
