"""Predictions and exercises: the journey decides, and nothing is raised that would stop a notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kplab.course.grading import Verdict
from kplab.course.lesson import About, Check, ServiceRules
from kplab.errors import UsageError
from kplab.jupyter.checking import Measure, check
from kplab.jupyter.predicting import Prediction, read_claims
from kplab.jupyter.shown import JourneyView

pytestmark = pytest.mark.unit

View = Callable[[str], JourneyView]
WHERE: dict[str, dict[str, Any]] = {
    "before routing": {"hops": [{"kind": "DNAT", "hook": "PREROUTING"}]},
    "at the end": {"hops": [{"kind": "DNAT", "hook": "POSTROUTING"}], "why": "Look at its hook."},
}


def ask(about: About | None = None) -> Prediction:
    """A question about where DNAT happens."""
    return Prediction("Where?", WHERE, about or About())


@pytest.mark.parametrize(("answer", "right"), [("a", True), ("before routing", True), ("b", False)])
def test_the_journey_grades_the_answer(view: View, answer: str, right: bool) -> None:
    """An answer is a letter or the choice's words; it is right if its hops are in the journey."""
    question = ask()
    question.say(answer)
    shown = question.saw(view("lab-nft-curl").journey)

    assert shown is not None
    assert question.verdict is not None
    assert (question.verdict.passed, question.done) == (right, right)
    assert repr(shown).startswith("✓" if right else "✗")
    assert right or "Look at its hook." in repr(shown)


def test_the_same_answer_is_graded_once_and_another_again(view: View) -> None:
    """Sending again says nothing new; changing one's mind and sending again does."""
    question = ask()
    question.say("b")
    journey = view("lab-nft-curl").journey

    assert question.saw(journey) is not None
    assert question.saw(journey) is None
    question.say("a")
    assert question.saw(journey) is not None
    assert question.done


def test_an_unanswered_question_reminds_once_and_never_gives_itself_away(view: View) -> None:
    """A notebook that is run from top to bottom goes on, with one line about the question."""
    question = ask()
    journey = view("lab-nft-curl").journey

    assert "not answered" in repr(question.saw(journey))
    assert question.saw(journey) is None
    assert question.verdict is None


def test_a_question_that_is_asked_again_keeps_its_answer_until_it_is_graded(view: View) -> None:
    """Running its cell once more loses nothing; after a verdict it is a new question. Another one is another."""
    first, again, other = ask(), ask(), Prediction("When?", WHERE, About())
    first.say("a")
    again.asked_again(first)
    other.asked_again(first)
    assert (again.answer, other.answer) == ("a", None)

    again.saw(view("lab-nft-curl").journey)
    anew = ask()
    anew.asked_again(again)
    assert anew.answer is None


def test_another_packet_is_not_graded(view: View) -> None:
    """A question about one destination says of a packet to another that it was not meant."""
    question = ask(About(destination="10.96.0.99:80"))
    journey = view("lab-nft-curl").journey
    assert question.saw(journey) is None
    question.say("a")

    assert "not graded" in repr(question.saw(journey))
    assert question.verdict is None


def test_names_of_pods_and_chains_claim_for_themselves(view: View) -> None:
    """A list of pods asks who is met; of chains, which is walked."""
    journey = view("lab-nft-curl")
    met = next(hop.node for hop in journey.hops if hop.kind == "delivered" and hop.direction == "request")
    pods = sorted({met, "web-1", "web-2", "web-3"})
    question = Prediction("Who?", read_claims(pods, journey.topology), About())
    question.say(met)
    question.saw(journey.journey)

    assert question.done
    assert read_claims(["KUBE-SERVICES"], journey.topology) == {"KUBE-SERVICES": {"hops": [{"chain": "KUBE-SERVICES"}]}}
    with pytest.raises(UsageError, match="somebody"):
        read_claims(["somebody"], journey.topology)


@pytest.mark.parametrize(
    "claims",
    [
        {"only one": {"hops": [{"kind": "DNAT"}]}},
        {"a": {"hops": [{"colour": "red"}]}, "b": {"hops": [{"kind": "DNAT"}]}},
        {"a": {}, "b": {"hops": [{"kind": "DNAT"}]}},
        {"a": {"hop": [{"kind": "DNAT"}]}, "b": {"hops": [{"kind": "DNAT"}]}},
    ],
)
def test_an_ill_formed_question_is_refused(claims: dict[str, Any]) -> None:
    """One choice, an unknown field, a choice that claims nothing: each is said at once."""
    with pytest.raises(UsageError):
        Prediction("?", claims, About())


def test_an_unknown_answer_is_refused_with_the_letters() -> None:
    """The hint lists what can be answered."""
    with pytest.raises(UsageError, match="a, b"):
        ask().say("c")


def never_asked(wanted: Check) -> Verdict:
    """No lab is asked."""
    raise AssertionError(wanted)


@pytest.mark.parametrize("undone", [None, ...])
def test_an_exercise_that_was_not_begun_is_said_to_be(undone: object) -> None:
    """Dots do not raise: they are not passed, with what to do."""
    done = check([undone], Measure(equals=3), never_asked)

    assert not done.passed
    assert "in place of the dots" in repr(done)


def test_a_journey_is_held_against_hops(view: View) -> None:
    """What is missed is said with the closest hop; what must never be, fails."""
    journey = view("lab-nft-curl")

    assert check([journey], Measure(hops=[{"kind": "DNAT"}]), never_asked)
    missed = check([journey], Measure(hops=[{"kind": "rejected"}]), never_asked)
    assert "missed because" in repr(missed)
    assert not check([journey], Measure(hops=[{"kind": "DNAT"}], never=[{"kind": "reply"}]), never_asked)


@pytest.mark.parametrize(
    ("what", "measure", "passed"),
    [
        (3, Measure(equals=3), True),
        (4, Measure(equals=3), False),
        (np.int64(3), Measure(equals=3), True),
        (np.bool_(True), Measure(), True),
        (False, Measure(), False),
    ],
)
def test_values_are_compared_with_the_kernels(what: object, measure: Measure, passed: bool) -> None:
    """Numbers by `equals`, comparisons as they are, numpy's too; a wrong one does not give the right one away."""
    done = check([what], measure, never_asked)

    assert done.passed == passed
    assert passed or "3" not in repr(done)


def test_a_lessons_check_is_carried_out_by_the_lab() -> None:
    """A check of lessons goes to whoever can ask the kernel; with several, all must pass."""
    wanted = ServiceRules("node-a", "demo/web:http", ("10.244.1.10:8080",))
    asked: list[Check] = []

    def ask_lab(each: Check) -> Verdict:
        asked.append(each)
        return Verdict(True, ("found",))

    assert check([wanted], Measure(), ask_lab)
    assert not check([wanted, ...], Measure(), ask_lab)
    assert asked == [wanted, wanted]
    with pytest.raises(UsageError):
        check(["text"], Measure(), ask_lab)
