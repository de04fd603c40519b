"""A journey as lines of text: everything is said, long walks are folded, and doubts are never hidden."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kplab.model.journey import Journey
from kplab.trace.file import read_trace
from kplab.trace.journey import tell
from kplab.trace.text import SHOWN_SKIPS, journey_lines

pytestmark = pytest.mark.unit

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"


@pytest.fixture(scope="module")
def journey() -> Journey:
    """Return a real journey to the other node, told from its recording."""
    return tell(read_trace(RECORDINGS / "lab-nft-other-node.kptrace"))


def test_every_hop_has_a_line_and_a_sentence(journey: Journey) -> None:
    """Number, namespace, kind and evidence stand in a hop's line, its sentence in the next."""
    lines = list(journey_lines(journey))

    for hop in journey.hops:
        place = next(n for n, line in enumerate(lines) if line.startswith(f"{hop.n:>4}  {hop.node}"))
        assert f"[{hop.evidence}]" in lines[place]
        assert lines[place + 1].strip() == hop.text


def test_long_walks_are_folded_unless_all_is_asked_for(journey: Journey) -> None:
    """The first three rules that did not match are shown, the others counted; unfolded, each has its reason."""
    longest = max(journey.hops, key=lambda hop: len(hop.skipped))
    folded, unfolded = "\n".join(journey_lines(journey)), "\n".join(journey_lines(journey, unfold=True))

    assert f"… and {len(longest.skipped) - SHOWN_SKIPS} more rules that did not match" in folded
    assert "more rules that did not match" not in unfolded
    assert all(skip.rule in unfolded and skip.reason in unfolded for skip in longest.skipped)


def test_doubts_stand_at_the_end_in_words(journey: Journey) -> None:
    """Lost events, an incomplete story and a disagreement are each told."""
    doubtful = msgspec.structs.replace(
        journey, complete=False, incomplete_because="12 events were lost", lost=12, disagreements=("hop 7: no",)
    )

    assert list(journey_lines(doubtful))[-3:] == [
        "INCOMPLETE: 12 events were lost",
        "LOST: 12 events",
        "MODEL AND KERNEL DISAGREE: hop 7: no",
    ]


def test_what_a_hop_changed_is_shown(journey: Journey) -> None:
    """The DNAT hop says which addresses became which."""
    dnat = next(hop for hop in journey.hops if hop.kind == "DNAT")

    assert any(f"{dnat.before.dst}   becomes " in line and dnat.after.dst in line for line in journey_lines(journey))
