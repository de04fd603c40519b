"""Playing a journey: forward, back, by hop and by rule, faster and slower; and what must be said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from kplab.model.journey import Journey
from kplab.tui.playback import SPEEDS
from kplab.tui.widgets.painted import Painted

if TYPE_CHECKING:
    from tests.tui.conftest import FakeSession, OpenStage

pytestmark = pytest.mark.tui


async def test_it_plays_at_once_and_shows_each_tried_rule(stage: OpenStage) -> None:
    """After 2 s the packet is in KUBE-SERVICES, and two of its rules were tried."""
    async with stage(live=False) as s:
        assert "playing" in s.text()
        await s.pass_time(2.0)

        assert "hop 5/41" in s.text()
        assert "dst 10.96.0.10 is not 10.96.0.42" in s.text()
        assert "tried 3" in s.text()


async def test_the_ticker_runs_while_it_plays_and_rests_while_it_pauses(stage: OpenStage) -> None:
    """A replay plays by itself; a pause costs nothing."""
    async with stage(live=False, ticking=True) as s:
        assert s.screen.ticks
        await s.press("space")
        assert not s.screen.ticks

        await s.press("space")

        assert s.screen.ticks


async def test_back_and_forward_by_hop_and_by_rule(stage: OpenStage) -> None:
    """A step back undoes a step forward."""
    async with stage(live=False) as s:
        await s.press("home", "right", "right", "right", "right")
        before = s.text()
        assert "hop 5/41" in before
        assert "paused" in before
        await s.press("right", "left")
        assert s.text() == before

        await s.press("shift+left")

        assert "12 ✓ dst 10.96.0.42" not in s.text()
        assert "8 more: other destinations" in s.text()
        await s.press("shift+right")
        assert s.text() == before
        await s.press("end")
        assert "hop 41/41" in s.text()
        await s.press("home")
        assert "hop 1/41" in s.text()


async def test_speed_changes_between_a_quarter_and_eight(stage: OpenStage) -> None:
    """`+` and `]` go up, `-` and `[` down, and time goes accordingly."""
    async with stage(live=False) as s:
        await s.press("plus", "right_square_bracket", "plus", "plus", "plus")
        assert "8x" in s.text()
        await s.pass_time(1.0)
        assert s.screen.desk.playback is not None
        assert s.screen.desk.playback.position == pytest.approx(8.0)

        await s.press(*["minus"] * 9)

        assert "0.25x" in s.text()


async def test_space_pauses_and_goes_on(stage: OpenStage) -> None:
    """While it pauses time does not count."""
    async with stage(live=False) as s:
        await s.pass_time(1.0)
        await s.press("space")
        await s.pass_time(5.0)
        assert s.screen.desk.playback is not None
        assert s.screen.desk.playback.position == pytest.approx(1.0)

        await s.press("space")
        await s.pass_time(0.5)

        assert s.screen.desk.playback.position == pytest.approx(1.5)


async def test_what_a_hop_rewrote_stands_beside_its_old_value(stage: OpenStage) -> None:
    """Old value, arrow, new value; and the full story of the hop by `y`."""
    async with stage(live=False) as s:
        await s.press("home", *["right"] * 7)
        assert "dst 10.96.0.42:80 ⇒ 10.244.2.10:8080" in s.text()

        await s.press("y")

        assert "DNAT --to-destination 10.244.2.10:8080" in s.text()
        assert "before    tcp 10.244.1.5:40112 → 10.96.0.42:80" in s.text()


async def test_o_unfolds_the_skipped_rules(stage: OpenStage) -> None:
    """All eight are shown with their reasons, and fold again."""
    async with stage(live=False, size=(120, 50)) as s:
        await s.press("home", *["right"] * 4)
        assert "10.96.0.52" not in s.text()
        await s.press("o")
        assert "dst 10.96.0.52 is not 10.96.0.42" in s.text()

        await s.press("o")

        assert "10.96.0.52" not in s.text()


async def test_a_disagreement_is_said_in_words_on_every_hop(stage: OpenStage, journey: Journey) -> None:
    """Model and kernel: what the walk got wrong is never hidden."""
    forged = msgspec.structs.replace(journey.hops[6], disagreement="the rule fired, and the model says it cannot")
    told = msgspec.structs.replace(journey, hops=(*journey.hops[:6], forged, *journey.hops[7:]))
    async with stage(live=False, journeys=(told,)) as s:
        said = "! model and kernel disagree at hop 7: the rule fired, and the model says it cannot"
        assert said in s.text()
        await s.press("end")
        assert said in s.text()

        await s.press("home", *["right"] * 6)

        assert "disagrees: the rule" in s.text()


async def test_lost_events_are_said_in_words_and_leave_a_gap(stage: OpenStage, journey: Journey) -> None:
    """The banner counts them, the timeline has a gap."""
    told = msgspec.structs.replace(journey, lost=12, complete=False)
    async with stage(live=False, journeys=(told,)) as s:
        assert "! 12 events were lost, this story is incomplete" in s.text()
        assert "╳ 12 events were lost" in s.text()


async def test_a_replay_says_that_it_is_one(stage: OpenStage, session: FakeSession) -> None:
    """Recorded on which day; no prompt, and keys that need a lab do nothing."""
    session.facts = msgspec.structs.replace(session.facts, taken_at="2026-05-01T09:30:00Z")
    async with stage(live=False) as s:
        assert "! recorded on 2026-05-01 09:30 (Linux 6.18), not live" in s.text()
        assert "packet>" not in s.text()

        await s.press("c", "f", "s", "e", "v", "x", "r", "h", "n", "p")

        assert session.sent == []


async def test_reduced_motion_has_no_moments_in_between(stage: OpenStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With TEXTUAL_ANIMATIONS=none a packet is never drawn between two stops."""
    monkeypatch.setattr("textual.constants.TEXTUAL_ANIMATIONS", "none")
    async with stage(live=False) as s:
        assert s.screen.desk.still
        places = set()
        for _ in range(60):
            await s.pass_time(1 / 30)
            place = s.screen.desk.frame().map.place
            assert place is not None
            places.add((place.station, place.toward, round(place.progress, 3)))

        assert all(progress in {0.0, 0.5} for _, _, progress in places)


async def test_without_colour_every_meaning_is_still_there(stage: OpenStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR: marks and words carry what colours carry."""
    monkeypatch.setenv("NO_COLOR", "1")
    async with stage(live=False, size=(120, 40)) as s:
        assert s.app.no_color
        await s.press("home", *["right"] * 7)

        for mark in ("● seen", "✓", "✗", "▶", "⇒", "[ walk ]", "● PREROUTING", "paused"):
            assert mark in s.text(), mark
        greys = {
            colour.triplet
            for strip in s.app.screen._compositor.render_strips()
            for _, style, _ in strip.apply_filter(s.app._filters[0], s.app.screen.background_colors[1])
            if style is not None
            for colour in (style.color, style.bgcolor)
            if colour is not None and colour.triplet is not None
        }
        assert greys
        assert all(len(set(triplet)) == 1 for triplet in greys)


async def test_a_frame_in_which_nothing_changes_paints_nothing(
    stage: OpenStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a hop stands still no panel asks to be painted again."""
    painted: list[str | None] = []
    async with stage(live=False) as s:
        await s.pass_time(0.2)
        monkeypatch.setattr(Painted, "repaint", lambda self: painted.append(self.id))
        await s.pass_time(0.3)

        assert painted == []


def test_speeds_are_those_that_are_promised() -> None:
    """From a quarter to eight times."""
    assert (SPEEDS[0], SPEEDS[-1]) == (0.25, 8.0)
    assert 1.0 in SPEEDS
