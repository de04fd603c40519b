"""The still picture: the whole story in one SVG that any viewer shows, and its place beside the widget."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from kplab.jupyter.still import still_svg
from kplab.jupyter.still_hops import told_hops
from kplab.jupyter.still_output import still_output
from kplab.model.journey import Journey
from kplab.model.topology import Topology

pytestmark = pytest.mark.unit

RECORDINGS = sorted(path.stem for path in (Path(__file__).parents[2] / "data" / "recordings").glob("*.kptrace"))
SVG = "{http://www.w3.org/2000/svg}"

Told = tuple[Journey, Topology]


def texts(svg: str) -> list[str]:
    """Return a picture's lines of text, in order."""
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314  # our own


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_hop_of_a_told_packet_is_there_with_its_evidence(told: Callable[[str], Told], name: str) -> None:
    """A number, a mark for how we know, and the beginning of its sentence; and what came of it all."""
    journey, topology = told(name)

    lines = texts(still_svg(journey, topology))

    whole = " ".join(lines)
    for hop in told_hops(journey.hops):
        assert str(hop.n) in lines
        assert hop.text.split(" ")[0] in whole
    assert len([line for line in lines if line in {"●", "◐", "○", "!"}]) >= len(told_hops(journey.hops))
    assert journey.outcome.split(".")[0] in whole


@pytest.mark.parametrize("name", RECORDINGS)
def test_no_line_runs_out_of_the_picture(told: Callable[[str], Told], name: str) -> None:
    """Each text ends before the right edge, in letters of the font's width."""
    root = ElementTree.fromstring(still_svg(*told(name)))  # noqa: S314  # our own
    width = float(root.get("width") or "0")

    for text in root.iter(f"{SVG}text"):
        size = float(text.get("font-size") or "12")
        if text.get("text-anchor") is None:
            assert float(text.get("x") or "0") + len(text.text or "") * size * 0.602 <= width, text.text


def test_the_picture_needs_nothing_from_outside(journey: Journey, topology: Topology) -> None:
    """A background of its own, no script, no style sheet, no font, no link."""
    svg = still_svg(journey, topology)

    assert re.search(r'<rect width="1040" height="\d+" rx="8" fill="#fbfaf6"/>', svg)
    assert not re.search(r"<(script|style|image|use|a|foreignObject)\b|href|url\(|@import", svg)


def test_packets_that_bring_nothing_new_take_one_line(told: Callable[[str], Told]) -> None:
    """Of a connection of ten packets the SYN and its answer are told, and eight are named."""
    journey, topology = told("lab-nft-curl")

    lines = texts(still_svg(journey, topology))

    assert {hop.packet for hop in told_hops(journey.hops)} == {1, 2}
    assert len([line for line in lines if "nothing new" in line]) == 8
    assert any(line.startswith("packet 3, request: client → node-a → web-2, 12 hops") for line in lines)


def test_what_is_wrong_is_said_in_the_picture_too(journey: Journey, topology: Topology) -> None:
    """A disagreement, lost events, and leftovers of the other back-end."""
    hops = (*journey.hops[:3], msgspec.structs.replace(journey.hops[3], disagreement="rule 3 should match"))
    wrong = msgspec.structs.replace(
        journey, hops=hops, lost=2, complete=False, findings=("rules are in both back-ends",)
    )

    whole = " ".join(texts(still_svg(wrong, topology)))

    assert "model and kernel disagree at hop 4: rule 3 should match" in whole
    assert "2 events were lost" in whole
    assert "! rules are in both back-ends" in whole


def test_a_journey_without_hops_has_a_picture(journey: Journey, topology: Topology) -> None:
    """What was asked, and the outcome."""
    lines = texts(still_svg(msgspec.structs.replace(journey, hops=()), topology))

    assert journey.packet in lines[0]


def test_the_output_is_an_image_that_untrusting_front_ends_show(journey: Journey, topology: Topology) -> None:
    """HTML with the picture inside and the outcome in words, the SVG itself, and the story as text."""
    still = still_svg(journey, topology)

    bundle = still_output(still, 'what "happened" & why', "lines")

    found = re.search(
        r'<img class="kplab-still" alt="([^"]*)" src="data:image/svg\+xml;base64,([^"]*)">', bundle["text/html"]
    )
    assert found is not None
    assert found[1] == "what &quot;happened&quot; &amp; why"
    assert base64.b64decode(found[2]).decode() == still
    assert (bundle["image/svg+xml"], bundle["text/plain"]) == (still, "lines")
    assert "<script" not in bundle["text/html"]
