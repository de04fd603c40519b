"""The widget's Python side: what it sends, what it answers, how large it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kplab.jupyter.fold import PAGE, FoldPages
from kplab.jupyter.state import StatePacker
from kplab.jupyter.still import still_svg
from kplab.jupyter.widget import JourneyWidget, looks, script
from kplab.model.journey import Journey
from kplab.model.topology import Topology
from kplab.scene.timeline import Timeline
from tests.unit.jupyter_widget.test_state import long_walk

pytestmark = pytest.mark.unit

Told = tuple[Journey, Topology]


@pytest.fixture(scope="module")
def packed(told: Callable[[str], Told]) -> StatePacker:
    """A connection of ten packets, whose first was held against 4,000 Services' rules."""
    journey, topology = told("lab-nft-curl")
    return StatePacker(Timeline(long_walk(journey, 4_000), topology))


def test_all_that_is_sent_is_small(packed: StatePacker) -> None:
    """State, script and looks together: at most 200 KB."""
    widget = JourneyWidget(packed, "<svg/>")

    state: dict[str, Any] = widget.get_state()

    assert state["_esm"] == script()
    assert state["_css"] == looks()
    assert sum(len(value.encode()) for value in state.values() if isinstance(value, str)) <= 200_000


def test_nothing_in_it_is_to_be_fetched() -> None:
    """Neither script nor looks name another place."""
    for text in (script(), looks()):
        for word in ("https:", "//cdn", "import ", "import(", "@import", "fetch(", "url("):
            assert word not in text, word


def test_a_fold_is_answered_page_by_page(packed: StatePacker) -> None:
    """Every rule of it, numbered on from the ones that were shown."""
    pages = FoldPages(packed.folds)
    place, fold = max(packed.folds.items(), key=lambda item: item[1].count)
    rules: list[list[Any]] = []
    while len(rules) < fold.count:
        answer = pages.answer({"kind": "unfold", "line": place, "from": len(rules)})
        assert answer is not None
        assert 0 < len(answer["rules"]) <= PAGE
        rules += answer["rules"]

    assert [rule[0] for rule in rules] == list(range(fold.number or 0, (fold.number or 0) + fold.count))
    assert [rule[3] for rule in rules] == [skip.rule for skip in fold.hidden]


@pytest.mark.parametrize(
    "question",
    [
        None, "unfold", {}, {"kind": "unfold", "line": -5, "from": 0}, {"kind": "unfold", "line": "0", "from": 0},
        {"kind": "other", "line": 0, "from": 0}, {"kind": "unfold", "line": 0, "from": -1},
    ],
)  # fmt: skip
def test_a_message_that_is_no_question_is_left_alone(packed: StatePacker, question: object) -> None:
    """A front-end may send what it likes; the notebook's kernel does not stumble over it."""
    assert FoldPages(packed.folds).answer(question) is None


def test_the_widget_by_itself_has_the_still_picture_beside_it(journey: Journey, topology: Topology) -> None:
    """A front-end that has no widgets shows that."""
    still = still_svg(journey, topology)

    bundle = JourneyWidget(StatePacker(Timeline(journey, topology)), still)._repr_mimebundle_()

    assert bundle is not None
    assert bundle[0]["image/svg+xml"] == still
    assert "application/vnd.jupyter.widget-view+json" in bundle[0]
