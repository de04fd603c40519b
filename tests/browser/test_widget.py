"""The widget in a real browser: the terminal's frames, painted; keys; folds; themes; nothing fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from kplab.jupyter.state import StatePacker
from kplab.scene.frame import Frame
from kplab.scene.timeline import Timeline
from kplab.scene.walks import unfold
from kplab.tui.paint.lines import plain_text
from kplab.tui.paint.map import paint_map
from kplab.tui.paint.story import paint_entries, paint_headers
from kplab.tui.paint.walk import paint_walk
from tests.browser.conftest import Outgoing
from tests.browser.widget_page import open_widget, recorded
from tests.unit.jupyter_widget.test_state import long_walk, moments, painted

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

NAMES = (
    "lab-nft-curl",
    "lab-nft-other-node",
    "lab-ipvs-syn",
    "lab-nftables-nodeport-other",
    "lab-ebpf-curl",
    "lab-nft-lb-refused",
)

SCRIPTS = Path(__file__).parent / "scripts"


def in_page(name: str) -> str:
    """Return a function to be run in the page."""
    return (SCRIPTS / f"{name}.js").read_text()


def timeline_of(name: str) -> Timeline:
    """Return a recording's journey in time."""
    return Timeline(*recorded(name))


def about(value: Any) -> Any:
    """Return JSON's values, with room for the last bits of a number that was worked out twice."""
    if isinstance(value, dict):
        return {key: about(one) for key, one in value.items()}
    if isinstance(value, list):
        return [about(one) for one in value]
    return pytest.approx(value, abs=1e-5) if isinstance(value, float) else value


@pytest.mark.parametrize("name", NAMES)
def test_the_browser_picks_the_frames_that_the_terminal_paints(context: BrowserContext, name: str) -> None:
    """The same place, walk, headers, conntrack, lookup and words, at every time."""
    timeline = timeline_of(name)
    times = moments(timeline)
    page = open_widget(context, timeline)

    found = page.evaluate(in_page("frames"), [StatePacker(timeline).encode(), times])

    for t, frame in zip(times, found, strict=True):
        assert frame == about(painted(timeline, t)), t


def squeezed(text: str) -> str:
    """Return a text without the spaces that only lay it out."""
    return " ".join(text.split())


def shown(page: Page, selector: str) -> str:
    """Return a part's words as a reader sees them."""
    return squeezed(page.locator(f".kplab-journey {selector}").inner_text())


def agrees(page: Page, frame: Frame) -> None:
    """Compare what stands in the page with what the terminal paints on a screen that is wide enough."""
    assert shown(page, ".kplab-why") == squeezed(f"why {frame.sentence}")
    assert shown(page, ".kplab-next") == squeezed(f"next {frame.next}")
    assert shown(page, ".kplab-place") == frame.where.replace(" · ", " ▸ ")
    assert shown(page, ".kplab-headers").replace("proto ", "") == squeezed(
        plain_text(paint_headers(frame.headers, 300))
    )
    rows = [squeezed(row) for row in page.locator(".kplab-lines .kplab-line").all_inner_texts()]
    walk = frame.walk
    told = plain_text(paint_walk(walk.lines, 1000, running=False)).splitlines() if walk is not None else []
    assert rows == [squeezed(row).removesuffix(" o unfolds") + (" unfold" if "… " in row else "") for row in told]
    if walk is not None:
        assert shown(page, ".kplab-count") == f"tried {walk.tried:,}"
    entries = squeezed(plain_text(paint_entries(frame.conntrack, 300)))
    assert _without_ids(entries).replace("conntrack, as", "conntrack as") == shown(page, ".kplab-entries")
    assert page.locator(".kplab-mark.kplab-now").get_attribute("data-hop") == str(frame.hop)
    _same_place(page, frame)


def _without_ids(text: str) -> str:
    words = text.split()
    return " ".join(word for i, word in enumerate(words) if word != "id" and (i == 0 or words[i - 1] != "id"))


def _same_place(page: Page, frame: Frame) -> None:
    """The packet stands in the same box at the same hook, or on the same way."""
    place = frame.map.place
    assert place is not None
    boxed = page.locator(".kplab-box.kplab-here .kplab-name")
    if place.toward is not None:
        expect(boxed).to_have_count(0)
        mark = page.locator(f"svg .kplab-packet.kplab-{frame.map.direction}")
        assert float(mark.get_attribute("data-progress") or "nan") == pytest.approx(place.progress, abs=2e-3)
        return
    assert boxed.text_content() == place.station
    lit = page.locator(".kplab-hook.kplab-here text:not(.kplab-sign)").all_text_contents()
    board = plain_text(paint_map(frame.board, frame.map, 200))
    assert lit == [place.hook if place.hook and place.hook in board else "here"]


def test_every_step_by_key_paints_what_the_terminal_paints(context: BrowserContext) -> None:
    """Hop by hop through a request and its reply, by the right arrow."""
    timeline = timeline_of("lab-nft-other-node")
    page = open_widget(context, timeline)
    t = 0.0
    agrees(page, timeline.at(t))

    for _ in range(80):
        page.keyboard.press("ArrowRight")
        t = timeline.next_hop(t)
        agrees(page, timeline.at(t))

    assert timeline.hop_at(t) == len(timeline.marks) - 1


def test_steps_go_where_the_terminal_s_steps_go(context: BrowserContext) -> None:
    """By hop and by rule, forward and back, from anywhere."""
    timeline = timeline_of("lab-nft-curl")
    page = open_widget(context, timeline)
    keys = [("hop", 1)] * 9 + [("rule", 1)] * 30 + [("rule", -1)] * 50 + [("hop", 1), ("hop", -1), ("rule", 1)] * 9
    steps = {
        ("hop", 1): timeline.next_hop, ("hop", -1): timeline.previous_hop,
        ("rule", 1): timeline.next_rule, ("rule", -1): timeline.previous_rule,
    }  # fmt: skip
    expected, t = [], 0.0
    for key in keys:
        t = steps[key](t)
        expected.append(t)

    found = page.evaluate(in_page("steps"), [StatePacker(timeline).encode(), [list(key) for key in keys]])

    assert found == pytest.approx(expected, abs=1e-9)


def test_keys_play_pause_and_change_the_speed(context: BrowserContext) -> None:
    """Space plays and pauses, + and - choose a speed, Home and End go to the ends."""
    page = open_widget(context, timeline_of("lab-nft-lb-refused"))
    root = page.locator(".kplab-journey")
    play, speed = page.locator("button.kplab-play"), page.locator(".kplab-speed")

    for _ in range(9):
        page.keyboard.press("+")
    assert speed.inner_text() == "8×"
    page.keyboard.press("Space")
    expect(play).to_have_text("❚❚ pause")
    expect(play).to_have_text("▶ play", timeout=60_000)
    assert shown(page, ".kplab-hop") == "hop 15 of 15"
    page.keyboard.press("-")
    page.keyboard.press("Home")
    assert (speed.inner_text(), root.get_attribute("data-t")) == ("4×", "0.0000")
    page.keyboard.press("End")
    assert shown(page, ".kplab-hop") == "hop 15 of 15"


def test_a_click_on_a_mark_goes_to_its_hop(context: BrowserContext) -> None:
    """All of that hop is shown."""
    timeline = timeline_of("lab-ipvs-syn")
    page = open_widget(context, timeline)

    page.locator('.kplab-mark[data-hop="20"]').click()

    agrees(page, timeline.at(timeline.rest_of(20)))


def test_a_fold_is_unfolded_by_the_kernel(context: BrowserContext) -> None:
    """Its rules stand beneath it, numbered, with their reasons."""
    timeline = timeline_of("lab-nft-curl")
    page = open_widget(context, timeline)
    hop = next(i for i, one in enumerate(timeline.journey.hops) if len(one.skipped) > 4)
    page.locator(f'.kplab-mark[data-hop="{hop}"]').click()
    before = page.locator(".kplab-line").count()
    walk = timeline.at(timeline.rest_of(hop)).walk
    assert walk is not None
    fold = next(line for line in walk.lines if line.mark == "fold")

    page.locator(".kplab-unfold").click()

    expect(page.locator(".kplab-line")).to_have_count(before + fold.count)
    rows = [squeezed(row) for row in page.locator(".kplab-line").all_inner_texts()]
    assert squeezed(f"◐ {fold.number} ✗ {unfold(fold)[0].rule} {unfold(fold)[0].note}") in rows


def test_a_fold_without_a_kernel_says_so(context: BrowserContext) -> None:
    """No answer comes; the widget says why that may be, and what to do."""
    timeline = timeline_of("lab-nft-curl")
    page = open_widget(context, timeline, kernel=False)
    hop = next(i for i, one in enumerate(timeline.journey.hops) if len(one.skipped) > 4)
    page.locator(f'.kplab-mark[data-hop="{hop}"]').click()

    page.locator(".kplab-unfold").click()

    expect(page.locator(".kplab-told")).to_contain_text("run the cell again")


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_both_themes(context: BrowserContext, dark: bool) -> None:
    """Words have a contrast of 4.5 to 1 against what is behind them, as WCAG 2 asks for text of this size."""
    page = open_widget(context, timeline_of("lab-ipvs-syn"), dark=dark)
    page.keyboard.press("End")

    ratios = page.evaluate(in_page("contrasts"))

    assert len(ratios) > 40
    assert not {words: ratio for words, ratio in ratios.items() if ratio < 4.5}


def test_a_screen_reader_is_told_what_is_shown(context: BrowserContext) -> None:
    """The widget, its buttons, and the timeline have names; the timeline says which hop it is at."""
    page = open_widget(context, timeline_of("lab-nft-other-node"))
    page.keyboard.press("ArrowRight")

    assert page.get_by_role("group", name="Journey of").count() == 1
    assert (
        page.get_by_role("slider", name="Hop").get_attribute("aria-valuetext")
        == "hop 2 of 69: link to node-a in client"
    )
    assert page.get_by_role("button", name="Play or pause").count() == 1
    assert not [b for b in page.get_by_role("button").all() if not b.get_attribute("aria-label")]


def test_a_long_journey_is_drawn_without_asking_anybody(context: BrowserContext, outgoing: Outgoing) -> None:
    """Ten packets, 130 hops, 4,000 Services passed over: drawn at once, and nothing is fetched.

    A quiet machine draws it within 0.3 s; the bound is wide, for one that runs other tests besides.
    """
    journey, topology = recorded("lab-nft-curl")
    page = open_widget(context, Timeline(long_walk(journey, 4_000), topology))

    page.keyboard.press("End")

    assert shown(page, ".kplab-hop") == "hop 130 of 130"
    assert page.evaluate("window.drawnIn") < 3_000
    assert outgoing.urls == []
