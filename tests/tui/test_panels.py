"""Every panel explains itself; keys are named; tables are quick, and show what the kernel holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from textual.binding import Binding
from textual.widget import Widget

from kplab.course.lesson import Lesson
from kplab.model.journey import Journey
from kplab.tui.help import Help
from kplab.tui.screens.keys import KEYS, keys_text

if TYPE_CHECKING:
    from tests.tui.conftest import FakeSession, OpenStage

pytestmark = pytest.mark.tui


async def test_every_panel_explains_itself(stage: OpenStage, small: Lesson) -> None:
    """Whatever part of our own the student looks at has a help text of some substance."""
    async with stage(lesson=small, size=(200, 50)) as s:
        ours = [w for w in s.screen.query(Widget) if type(w).__module__.startswith("kplab.")]

        assert len(ours) > 15
        for widget in [*ours, s.screen]:
            found = getattr(widget, "help", None)
            assert isinstance(found, Help), widget
            assert found.title, widget
            assert len(found.body) > 50, widget


async def test_the_question_mark_explains_what_has_the_focus(stage: OpenStage) -> None:
    """With nothing in focus it explains the whole screen, beginning with the keys."""
    async with stage() as s:
        await s.press("question_mark")
        assert "What am I looking at?" in s.text()
        assert "play / pause" in s.text()
        await s.press("escape", "u", "question_mark")

        assert "What a node's kernel held just before the packet was sent" in s.text()


def test_every_key_has_a_name_and_a_tooltip() -> None:
    """Names let a student change keys, tooltips feed the palette; no key is given away twice."""
    assert len({binding.id for binding in KEYS}) == len(KEYS)
    for binding in KEYS:
        assert isinstance(binding, Binding)
        assert binding.id, binding
        assert binding.tooltip, binding
    keys = [key for binding in KEYS for key in binding.key.split(",")]
    assert len(set(keys)) == len(keys)
    for part in ("`space` play / pause", "`⇧→` next rule", "`?", "`s` shell"):
        assert part in keys_text()


async def test_the_palette_offers_what_the_keys_do(stage: OpenStage) -> None:
    """ctrl+p finds a command by its name and runs it."""
    async with stage() as s:
        await s.press("ctrl+p")
        await s.type("conntrack")
        await s.settle()
        assert "Live conntrack" in s.text()
        await s.press("escape", "escape")
        commands = {command.title for command in s.app.get_system_commands(s.app.screen)}

        assert {binding.description.capitalize() for binding in KEYS if binding.show} <= commands


async def test_conntrack_is_live_until_a_packet_is_sent_and_again_with_v(
    stage: OpenStage, session: FakeSession
) -> None:
    """The live table says that it is live; a journey shows its own entries as of the hop."""
    session.conntrack = ("ipv4 2 tcp 6 119 SYN_SENT src=10.244.1.5 dst=10.96.0.42 sport=1 dport=80 id=7",)
    async with stage() as s:
        await s.press("k", "v", "v")
        assert "conntrack, live" in s.text()
        assert "src=10.244.1.5 dst=10.96.0.42" in s.text()
        await s.press("slash")
        await s.type('IP(dst="10.96.0.42")')
        await s.press("enter", "home")
        assert "No conntrack entry was made or used up to this hop." in s.text()
        await s.press("end")
        assert "SYN_RECV" in s.text()
        assert "10.244.2.10:8080 → 10.244.1.5:40112" in s.text()

        await s.press("v")

        assert "conntrack, live" in s.text()


async def test_the_wire_lists_every_crossing(stage: OpenStage, journey: Journey) -> None:
    """One line a link, the last one passed marked."""
    async with stage(live=False) as s:
        await s.press("i", "home", "right")
        assert "▶ client → node-a" in s.text()
        crossings = sum(hop.kind == "link" for hop in journey.hops)
        await s.press("end")

        assert len(re.findall(r"tcp +(?:\[\w+\] +)?10\.", s.text())) >= min(crossings, 8)


async def test_m_looks_inside_a_box(stage: OpenStage) -> None:
    """Addresses, routes, and what listens there."""
    async with stage(live=False) as s:
        await s.press("m", "down", "enter")
        await s.settle()

        for part in ("Pod demo/web-1", "10.244.1.10/24", "default via 10.244.1.1 dev eth0", "TCP 8080  http"):
            assert part in s.text()


async def test_the_screen_survives_any_size(stage: OpenStage, journey: Journey) -> None:
    """From 60x20 on, whatever is shown, nothing breaks when the window changes."""
    many = msgspec.structs.replace(journey, hops=journey.hops * 9)
    async with stage(live=False, journeys=(many,)) as s:
        assert s.pilot is not None
        for width, height in ((60, 20), (80, 24), (119, 30), (240, 70), (61, 21)):
            await s.pilot.resize_terminal(width, height)
            await s.press("right", "u", "k", "i", "w")

            assert "hop" in s.text()
            assert max(len(row) for row in s.text().splitlines()) <= width
