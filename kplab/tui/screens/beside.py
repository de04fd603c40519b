"""The same packet through another mode: a second lab, and both stories side by side.

What this needs is loaded when the key is pressed: the screen appears sooner without.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from textual import work

from kplab.course.live_parts import start_lab_live
from kplab.errors import KplabError
from kplab.session.base import LabPlan
from kplab.trace.recording import Backend, Recording
from kplab.tui.screens.base import DeskScreen
from kplab.tui.screens.overlays import ChooseScreen

if TYPE_CHECKING:
    from kplab.session.runs import Runs
    from kplab.tui.screens.compare import ColumnState, CompareScreen

LIMIT = 120.0
"""Seconds that the second lab may take."""


class BesideActions(DeskScreen):
    """The action of the key that compares."""

    @work
    async def action_beside(self) -> None:
        """Choose a mode, send the recorded packet through a lab of it, and show both."""
        from kplab.scene.side_by_side import Story
        from kplab.session.runs import Runs
        from kplab.trace.compare import name_of
        from kplab.tui.screens.compare import CompareScreen

        desk = self.desk
        journey, recording = desk.journey, desk.recording
        if not desk.session.live or journey is None or recording is None or not recording.manifest:
            self.notify("Send a packet first: it is then sent through another mode too.")
            return
        own = name_of(recording.facts.mode, recording.facts.backend)
        options = [(name, name) for name in _names() if name != own]
        chosen = await self.app.push_screen_wait(ChooseScreen("The same packet through", options))
        if chosen is None:
            return
        screen = CompareScreen((own, chosen), f"{recording.sender}'s packet", self.clock, over=True)
        runs = Runs(LIMIT, start_lab_live())
        await self.app.push_screen(screen, lambda done: runs.stop())
        screen.take(Story(own, recording.facts.sandbox, journey, recording.topology))
        arguments = (runs, screen, chosen, recording)
        threading.Thread(target=self._run_beside, args=arguments, name="kplab-beside", daemon=True).start()

    def _run_beside(self, runs: Runs, screen: CompareScreen, name: str, recording: Recording) -> None:
        """Run the second lab, in a thread."""
        from kplab.scene.side_by_side import Story
        from kplab.tui.screens.compare import Missing, Waiting

        def hear(state: ColumnState) -> None:
            if not runs.stopped:
                self.app.call_later(screen.take, state)

        mode, _, backend = name.partition("-")
        chosen: Backend = "legacy" if backend == "legacy" else "nft"
        plan = LabPlan(manifest=recording.manifest, mode=mode, backend=chosen)
        try:
            with runs.lab(plan, recording.spec, recording.sender, lambda text: hear(Waiting(name, text))) as ran:
                hear(Story(name, ran.recording.facts.sandbox, ran.journey, ran.recording.topology))
        except KplabError as error:
            hear(Missing(name, " ".join(str(error).split())))


def _names() -> tuple[str, ...]:
    """Return every mode's name, iptables' with each back-end."""
    from kplab.modes.registry import known_modes
    from kplab.trace.compare import name_of

    found = []
    for mode in known_modes():
        found += [name_of(mode, backend) for backend in ("nft", "legacy")] if mode == "iptables" else [mode]
    return tuple(found)
