"""Two modes side by side on the screen: stories out of recordings, keys, modes that come late or not at all."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from textual.pilot import Pilot

from kplab.scene.side_by_side import Story
from kplab.session.base import LabPlan, Report, Session
from kplab.session.replay import ReplaySession
from kplab.trace.compare import name_of
from kplab.trace.file import read_trace
from kplab.trace.journey import tell
from kplab.tui.compare_app import CompareApp, Hear
from kplab.tui.screens.compare import ColumnState, CompareScreen, Missing, Waiting

pytestmark = [pytest.mark.tui, pytest.mark.timeout(120)]

DATA = Path(__file__).parents[1] / "data" / "recordings"
NAMES = ("iptables-nft", "nftables", "ebpf")
SIZES = [(80, 24), (160, 45)]


@cache
def story(name: str) -> Story:
    """A recorded mode's story."""
    recording = read_trace(DATA / f"lab-{name}.kptrace")
    facts = recording.facts
    return Story(name_of(facts.mode, facts.backend), facts.sandbox, tell(recording), recording.topology)


OpenStage = Callable[..., AbstractAsyncContextManager[Any]]
STORIES = ("nft-curl", "nftables-curl", "ebpf-curl")


class Shown:
    """The screen under test."""

    def __init__(self, app: CompareApp, pilot: Pilot[int]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def screen(self) -> CompareScreen:
        """The screen with the two columns."""
        return next(one for one in self.app.screen_stack if isinstance(one, CompareScreen))

    async def press(self, *keys: str) -> str:
        """Press keys, and return what the screen shows then."""
        await self.pilot.press(*keys)
        await self.pilot.pause()
        return self.text()

    def text(self) -> str:
        """Return what is to be seen."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)

    async def to(self, what: str) -> str:
        """Go on to the first row of that name."""
        for _ in range(200):
            text = self.text()
            if what in text.splitlines()[0]:
                return text
            await self.press("right")
        raise AssertionError(f"no row {what}")


@asynccontextmanager
async def shown(
    states: Sequence[ColumnState], names: Sequence[str] = NAMES, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Shown]:
    """Open the screen, and tell it these states."""
    told = threading.Event()

    def work(hear: Hear) -> None:
        for state in states:
            hear(state)
        told.set()

    app = CompareApp(work, names, "kplab compare · http://10.96.0.42 from client", clock=lambda: 0.0, ticking=False)
    async with app.run_test(size=size) as pilot:
        while not told.is_set():
            await pilot.pause(0.02)
        await pilot.pause()
        yield Shown(app, pilot)
    app.feed.close()


def recorded() -> list[ColumnState]:
    """All three stories."""
    return [story(name) for name in STORIES]


@pytest.mark.parametrize("size", SIZES)
async def test_each_column_answers_the_five_questions(size: tuple[int, int]) -> None:
    """Where, what is done, why, what comes next, and how we know: in both columns, at 80x24 too."""
    async with shown(recorded(), size=size) as screen:
        await screen.to("nat rules at PREROUTING")
        text = await screen.press("right")

        assert text.splitlines()[0].startswith(" kplab compare")
        for mine, part in ((0, "KUBE-SERVICES"), (1, "service-ips")):
            column = half(text, mine)
            assert "node-a ▸ PREROUTING" in column
            assert part in column
            assert "● seen" in column
            assert re.search(r"^next ", column, re.MULTILINE)
            assert "●node-a" in column or "● PREROUTING" in column
            assert "dst 10.96.0.42:80" in column
        assert "rule 16 matched after" in half(text, 0)
        assert re.search(r"rules( tried)? 17", half(text, 0))
        assert re.search(r"lookups 2", half(text, 1))
        assert "≠ iptables-nft: 16 rules | nftables: 2 rules, 1 lookup among 19" in text


def half(text: str, column: int) -> str:
    """Return one column's text."""
    rows = [row for row in text.splitlines() if "│" in row]
    middle = max(len(row) for row in text.splitlines()) // 2
    return "\n".join(row[:middle] if column == 0 else row[middle + 1 :].lstrip("│ ") for row in rows)


async def test_both_go_on_together_and_one_waits_where_the_other_goes_alone() -> None:
    """Where only nftables has rules, iptables' column stays at its last hop and says that it waits."""
    async with shown(recorded()) as screen:
        text = await screen.to("filter rules at PREROUTING")

        assert "waits" in half(text, 0)
        assert "waits" not in half(text, 1)
        assert "≠ only nftables: " in text
        assert "request: sent  1/" in (await screen.press("home")).splitlines()[0]


async def test_a_rewritten_address_is_shown_with_the_old_one() -> None:
    """DNAT beside DNAT, each with its counts."""
    async with shown(recorded()) as screen:
        text = await screen.to("request: DNAT")

        assert "dst 10.96.0.42:80 ⇒ 10.244.1.11:8080" in half(text, 0)
        assert "⇒" in half(text, 1)
        assert "rewr 1" in half(text, 0)


async def test_modes_are_changed_by_keys_and_the_other_column_stays() -> None:
    """`r` shows the next mode at the right, never the one at the left; `x` swaps."""
    async with shown(recorded()) as screen:
        await screen.to("request: DNAT")
        text = await screen.press("r")
        assert "ebpf namespaces" in half(text, 1)
        assert "dst 10.96.0.42:80 ⇒" in half(text, 0)
        text = await screen.press("r")
        assert "nftables namespaces" in half(text, 1)
        text = await screen.press("x")
        assert ("nftables namespaces" in half(text, 0), "iptables-nft namespaces" in half(text, 1)) == (True, True)
        assert "dst 10.96.0.42:80 ⇒" in half(text, 1)


async def test_the_next_difference_is_a_key_away() -> None:
    """`d` passes over what is the same in both, `b` goes back."""
    async with shown(recorded()) as screen:
        first = await screen.press("d")
        second = await screen.press("d")
        assert "≠" in first
        assert first != second
        assert await screen.press("b") == first


async def test_it_plays_by_itself() -> None:
    """A row each 0.8 s at normal speed; faster after `+`; a key stops it."""
    async with shown(recorded()) as screen:
        await screen.press("space")
        screen.screen.tick(0.7)
        assert screen.screen.position == 0
        screen.screen.tick(0.81)
        assert screen.screen.position == 1
        await screen.press("plus")
        screen.screen.tick(1.7)
        screen.screen.tick(2.1)
        assert screen.screen.position == 3
        await screen.press("left")
        screen.screen.tick(60.0)
        assert screen.screen.position == 2


async def test_a_mode_that_failed_says_why_and_the_others_are_shown() -> None:
    """The column has the reason; the other one goes alone."""
    states: list[ColumnState] = [story("nft-curl"), Missing("nftables", "it was not done within 5 s: it was at: links")]
    async with shown(states, names=NAMES[:2]) as screen:
        text = await screen.to("nat rules at PREROUTING")

        assert "left out: it was not done within 5 s" in " ".join(half(text, 1).split())
        assert "PREROUTING" in half(text, 0)
        assert "only iptables-nft" in text


async def test_a_mode_that_is_being_run_says_what_is_done() -> None:
    """Until its story comes; then both are aligned."""
    async with shown([story("nft-curl"), Waiting("nftables", "links")]) as screen:
        assert "… links" in half(screen.text(), 1)
        screen.screen.take(story("nftables-curl"))
        await screen.pilot.pause()
        assert "●client" in half(screen.text(), 1)


async def test_a_mode_of_the_guest_is_marked() -> None:
    """IPVS ran on another kernel, and its column says so."""
    async with shown([story("ipvs-syn"), story("nftables-curl")], names=("ipvs", "nftables")) as screen:
        assert "ipvs from the guest" in half(screen.text(), 0)


async def test_all_of_a_hop_and_help_are_shown_over_it() -> None:
    """`y` has both hops in full, `?` says what is to be seen."""
    async with shown(recorded(), size=(120, 40)) as screen:
        await screen.to("nat rules at PREROUTING")
        text = await screen.press("y")
        assert ("── iptables-nft ──" in text, "-A PREROUTING" in text, "── nftables ──" in text) == (True, True, True)
        await screen.press("escape")
        assert "What am I looking at?" in await screen.press("question_mark")


async def test_conntrack_takes_the_walks_place() -> None:
    """`k` shows the entries of this hop in both columns."""
    async with shown(recorded()) as screen:
        await screen.press("end")
        text = await screen.press("k")
        assert text.count("conntrack, as of this hop") == 2


@pytest.mark.parametrize("size", SIZES)
async def test_a_picture_of_it_is_whole(size: tuple[int, int], tmp_path: Path) -> None:
    """The screenshot is SVG that a browser and rsvg-convert draw, with both columns in it."""
    async with shown(recorded(), size=size) as screen:
        await screen.to("nat rules at PREROUTING")
        await screen.press("right")
        svg = screen.app.export_screenshot()
    file = tmp_path / "compare.svg"
    file.write_text(svg)

    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", svg.replace("&#160;", " ")))
    assert "KUBE-SERVICES" in words
    assert "service-ips" in words
    if shutil.which("rsvg-convert"):
        subprocess.run(["rsvg-convert", "-o", str(tmp_path / "compare.png"), str(file)], check=True)
        assert (tmp_path / "compare.png").stat().st_size > 10_000


async def test_a_packet_is_sent_through_another_mode_from_the_lesson_screen(
    stage: OpenStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`d` asks for a mode, runs a second lab of the recorded cluster, and shows both; leaving goes back and ends it."""
    closed = threading.Event()

    class Second(ReplaySession):
        """The second lab."""

        def close(self) -> None:
            """End."""
            closed.set()

    second = read_trace(DATA / "lab-nftables-curl.kptrace")
    plans: list[LabPlan] = []

    def start(plan: LabPlan, report: Report) -> Session:
        plans.append(plan)
        return Second(second)

    monkeypatch.setattr("kplab.tui.screens.beside.start_lab_live", lambda: start)
    first = read_trace(DATA / "lab-nft-curl.kptrace")
    async with stage(size=(120, 40)) as shown_stage:
        await shown_stage.press("d")
        assert "Send a packet first" in " ".join(shown_stage.notices())
        shown_stage.screen.desk.told(tell(first), structs.replace(first, spec=second.spec), 0.0, play=False)
        await shown_stage.press("d", "down", "down", "enter")
        assert shown_stage.pilot is not None
        while "nftables namespaces" not in shown_stage.text():
            await shown_stage.pilot.pause(0.02)
        assert "iptables-nft namespaces" in shown_stage.text()
        assert (plans[0].mode, plans[0].manifest) == ("nftables", first.manifest)
        await shown_stage.press("q")
        assert shown_stage.app.screen is shown_stage.screen
        assert closed.wait(5)
