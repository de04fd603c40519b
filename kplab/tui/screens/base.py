"""What every part of the lesson screen builds on: the desk, and how to show it."""

from __future__ import annotations

from collections.abc import Callable

from textual.screen import Screen

from kplab.tui.desk import Desk
from kplab.tui.feed import Feed


class DeskScreen(Screen[None]):
    """A screen that shows a desk. Its actions are written in several modules, by what they are about."""

    desk: Desk
    feed: Feed
    clock: Callable[[], float]

    def show_frame(self) -> None:
        """Show the desk's frame."""
        raise NotImplementedError

    def refresh_desk(self) -> None:
        """Show the desk: the frame, and all that is not a part of it."""
        raise NotImplementedError

    def moved(self) -> None:
        """Take note that the place in the journey changed by a key."""
        raise NotImplementedError

    async def show_lesson(self) -> None:
        """Show how the lesson stands."""
        raise NotImplementedError

    def node_in_sight(self) -> str:
        """Return the node that the packet is in, or the sender's."""
        nodes = self.desk.nodes()
        frame = self.desk.frame()
        journey = self.desk.journey
        here = journey.hops[frame.hop].node if journey and frame.hop >= 0 else self.desk.sender
        namespace = self.desk.session.topology.namespace(here)
        node = namespace.node if namespace and namespace.node else here
        return node if node in nodes else nodes[0]

    def start(self, doing: str) -> None:
        """Say what is being waited for."""
        self.desk.busy = doing
        self.refresh_desk()
