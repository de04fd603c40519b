"""Every panel explains itself; keys are named; tables are quick, and show what the kernel holds."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from textual.binding import Binding
from textual.widget import Widget

from kplab.course.lesson import Lesson
from kplab.model.journey import Journey
from kplab.trace.recording import Save
from kplab.tui.help import Help
from kplab.tui.rulebook import Rulebook
from kplab.tui.screens.keys import KEYS, keys_text
from kplab.tui.widgets.rules_panel import RulesLines

if TYPE_CHECKING:
    from tests.tui.conftest import FakeSession, OpenStage

pytestmark = pytest.mark.tui


def many_rules(services: int) -> str:
    """Return a dump with `services` Services of six endpoints: seven rules and seven chains each."""
    rows = ["*nat", ":PREROUTING ACCEPT [0:0]", ":KUBE-SERVICES - [0:0]"]
    for n in range(services):
        rows += [f":KUBE-SVC-{n:016d} - [0:0]"] + [f":KUBE-SEP-{n:010d}{e:06d} - [0:0]" for e in range(6)]
    for n in range(services):
        rows.append(f"-A KUBE-SERVICES -d 10.{96 + (n >> 16)}.{n >> 8 & 255}.{n & 255}/32 -j KUBE-SVC-{n:016d}")
    for n in range(services):
        rows += [f"-A KUBE-SVC-{n:016d} -j KUBE-SEP-{n:010d}{e:06d}" for e in range(6)]
    return "\n".join([*rows, "COMMIT"]) + "\n"


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

        assert "What iptables-save prints on this node" in s.text()


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


async def test_28000_rules_open_at_once_and_stay_quick(stage: OpenStage, session: FakeSession) -> None:
    """Opening takes less than 0.3 s of work, and so do a search through all of them and a jump to the last chain."""
    session.rules = many_rules(4000)
    assert session.rules.count("\n-A ") == 28_000
    async with stage() as s:
        begun = time.process_time()
        await s.press("u")
        opened = time.process_time() - begun
        assert "28,000 rules" in s.text()

        await s.press("slash")
        await s.type("10.96.15.159/32")
        begun = time.process_time()
        await s.press("enter")
        searched = time.process_time() - begun
        assert "-d 10.96.15.159/32" in s.text()
        await s.press("escape", "enter")
        assert "-A KUBE-SVC-0000000000003999" in s.text()
        await s.press("backspace", "end", "pagedown")

        assert opened < 0.3
        assert searched < 0.3


async def test_the_rule_of_the_hop_is_marked_in_the_browser(stage: OpenStage, session: FakeSession) -> None:
    """The book follows the packet: ▶ stands at the rule, and the line is shown in full beneath."""
    session.rules = "\n".join(
        ["*nat", ":KUBE-SERVICES - [0:0]", *(f"-A KUBE-SERVICES -d 10.96.9.{n}/32 -j SVC-{n}" for n in range(30))]
    )
    async with stage(live=False) as s:
        await s.press("home", *["right"] * 4, "u")

        assert "▶ -A KUBE-SERVICES -d 10.96.9.11/32 -j SVC-11" in s.text()
        assert s.text().count("10.96.9.11/32") == 2


async def test_g_goes_to_a_chain_and_a_wrong_name_is_told(stage: OpenStage) -> None:
    """By name; one that is not there is said not to be there."""
    async with stage() as s:
        await s.press("u", "g")
        await s.type("KUBE-POSTROUTING")
        await s.press("enter")
        assert "-A KUBE-POSTROUTING -m mark ! --mark" in s.text()
        await s.press("g")
        await s.type("NOPE")
        await s.press("enter")

        assert "! 'NOPE' is not in these rules" in s.text()


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


def test_a_rulebook_finds_rules_by_chain_and_number() -> None:
    """Table, chain and number lead to the very line; a number that is not there leads nowhere."""
    book = Rulebook("node-a", Save(4, "nft", "*nat\n:A - [0:0]\n-A A -j B\n-A A -j C\nCOMMIT\n*filter\n-A A -j D\n"))

    assert book.rule_line("nat", "A", 2) == 3
    assert book.rule_line("nat", "A", 3) is None
    assert book.rule_line("filter", "A", 1) == 6
    assert (book.rules, book.table_of(6), book.find("-j c", 0)) == (3, "filter", 3)


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


def test_rules_lines_start_without_a_book() -> None:
    """An empty browser paints nothing, and breaks nothing."""
    assert RulesLines().row(0, 80) == ()
