"""Playing: the actions that move through a journey. The screen that has a desk mixes them in."""

from __future__ import annotations

from kplab.tui.screens.base import DeskScreen


class PlayActions(DeskScreen):
    """Actions of the keys in `keys.PLAY`."""

    def action_toggle_play(self) -> None:
        """Play, or pause."""
        playback = self.desk.playback
        if playback is None:
            return
        if playback.playing:
            playback.pause()
        else:
            playback.play(self.clock())
        self.moved()

    def action_hop(self, by: int) -> None:
        """Go hop by hop."""
        if self.desk.playback is not None:
            self.desk.playback.step_hop(by)
            self.moved()

    def action_rule(self, by: int) -> None:
        """Go rule by rule."""
        if self.desk.playback is not None:
            self.desk.playback.step_rule(by)
            self.moved()

    def action_home(self) -> None:
        """Go to the beginning."""
        if self.desk.playback is not None:
            self.desk.playback.home()
            self.moved()

    def action_end(self) -> None:
        """Go to the end."""
        if self.desk.playback is not None:
            self.desk.playback.end()
            self.moved()

    def action_seek(self, hop: int) -> None:
        """Go to a hop (0-based), all of it shown."""
        if self.desk.playback is not None:
            self.desk.playback.seek_hop(hop)
            self.moved()

    def action_faster(self, by: int) -> None:
        """Play faster (1) or slower (-1)."""
        if self.desk.playback is not None:
            self.desk.playback.faster(by)
            self.moved()
