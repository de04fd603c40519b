"""Packets: what is asked at the prompt, from where, and by which client."""

from __future__ import annotations

from textual import on, work

from kplab.course.lesson import Preset
from kplab.tui.screens.base import DeskScreen
from kplab.tui.screens.overlays import ChooseScreen
from kplab.tui.widgets.prompt import PacketPrompt

EXAMPLES = (
    Preset("a SYN to a ClusterIP", 'IP(dst="10.96.0.42")/TCP(dport=80, flags="S")', "client"),
    Preset("a real HTTP request", "http://10.96.0.42/", "client", "curl"),
    Preset("a datagram to DNS", 'IP(dst="10.96.0.10")/UDP(dport=53)/Raw(load="hello")', "client"),
    Preset("ping a ClusterIP", 'IP(dst="10.96.0.42")/ICMP()', "client"),
)
"""Offered in free play."""


class PacketActions(DeskScreen):
    """Actions of the keys in `keys.PACKET`."""

    @on(PacketPrompt.Asked)
    def _asked(self, event: PacketPrompt.Asked) -> None:
        desk = self.desk
        desk.grade(early=True)
        self.start("sending")
        self.feed.ask(desk.session, event.spec, desk.sender)
        self.set_focus(None)

    def action_write(self) -> None:
        """Go to the prompt."""
        for prompt in self.query(PacketPrompt):
            prompt.entry.focus()

    def action_send(self) -> None:
        """Send what stands in the prompt; go there when nothing does."""
        for prompt in self.query(PacketPrompt):
            if prompt.text.strip() or self.desk.blocked():
                prompt.submit()
            else:
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
            self.offer_preset(presets[int(chosen)])
            self.action_write()

    def _presets(self) -> tuple[Preset, ...]:
        run = self.desk.run
        if run is None:
            return EXAMPLES
        return ((run.step.preset,) if run.step.preset else ()) + run.lesson.presets

    def offer_preset(self, preset: Preset | None) -> None:
        """Put an example into the prompt, with its sender and client."""
        if preset is None or not self.desk.session.live:
            return
        self.desk.client, self.desk.sender = preset.client, preset.sender
        self.refresh_desk()
        self.query_one(PacketPrompt).write(preset.expression)
