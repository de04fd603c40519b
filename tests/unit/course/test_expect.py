"""The matcher: ordered subsets, aliases, and reasons."""

from __future__ import annotations

import pytest

from kplab.course.expect import Written, expectation, match
from kplab.model.journey import Journey

pytestmark = pytest.mark.unit


def test_hops_may_stand_between_the_expected_ones(journey: Journey) -> None:
    """An expectation is a subset: what is not named may be there."""
    expected = expectation([{"kind": "sent"}, {"kind": "DNAT"}, {"kind": "delivered", "node": "client"}])
    outcome = match(expected, journey)
    assert [hop.n for hop in outcome.found] == [1, 8, 41]
    assert outcome.passed


def test_order_counts(journey: Journey) -> None:
    """The same hops in another order are missed, and the reason names the hop after which it is missing."""
    outcome = match(expectation([{"kind": "delivered", "node": "client"}, {"kind": "DNAT"}]), journey)
    assert outcome.missed == ("missed because no hop after hop 41 is: kind DNAT. The story ends before it.",)


def test_the_closest_hop_is_told_with_what_differs(journey: Journey) -> None:
    """A student reads which hop came closest, and which of its fields is another."""
    outcome = match(expectation([{"kind": "DNAT", "after.dst": "10.244.1.10:8080"}]), journey)
    assert outcome.missed == (
        "missed because no hop is: kind DNAT, after.dst 10.244.1.10:8080. "
        "Closest is hop 8 (DNAT): after.dst is 10.244.2.10:8080, not 10.244.1.10:8080.",
    )


def test_aliases_tie_hops_together(journey: Journey) -> None:
    """&x stores, *x must be equal, !x must differ."""
    rewritten = expectation([{"kind": "DNAT", "after.dst": "&pod"}, {"kind": "delivered", "before.dst": "*pod"}])
    unlike = expectation([{"kind": "DNAT", "after.dst": "&pod"}, {"kind": "route", "before.dst": "!pod"}])
    assert match(rewritten, journey).aliases == {"pod": "10.244.2.10:8080"}
    assert [hop.n for hop in match(unlike, journey).found] == [8, 37]


def test_it_goes_back_when_an_alias_does_not_fit_later(journey: Journey) -> None:
    """The first hop that fits a pattern need not be the one: node-a is met first, only web-3 fits both."""
    expected = expectation([{"node": "&where", "kind": "link"}, {"node": "*where", "kind": "delivered"}])
    assert [hop.node for hop in match(expected, journey).found] == ["client", "client"]


def test_a_hop_that_must_not_be_is_named(journey: Journey) -> None:
    """`never` finds the hop that breaks it, with its own sentence."""
    outcome = match(expectation([], [{"table": "nat", "hook": "POSTROUTING"}]), journey)
    assert len(outcome.missed) == 1
    assert "Hop 17: nat POSTROUTING asks" in outcome.missed[0]


@pytest.mark.parametrize(
    ("field", "written", "fits"),
    [
        ("chain", "KUBE-SVC-*", True),
        ("chain", "=KUBE-SVC-*", False),
        ("chain", "~^KUBE-SVC-[A-Z0-9]{16}$", True),
        ("rule_number", 4, True),
        ("rule_number", ">=4", True),
        ("rule_number", "<=3", False),
        ("interface", "-", True),
        ("rule", "-", False),
        ("verdict", ["accept", "jump KUBE-SEP-*"], True),
        ("before.dst.host", "10.96.0.42", True),
        ("before.dst.port", 80, True),
        ("draws", 2, True),
    ],
)
def test_values(journey: Journey, field: str, written: Written, fits: bool) -> None:
    """Each way of writing a value, against the hop of the KUBE-SVC chain."""
    outcome = match(expectation([{"n": 6, field: written}]), journey)
    assert outcome.passed is fits


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kid": "DNAT"}, "kid is not a field of a hop"),
        ({}, "has no field"),
        ({"after.dst": "&Pod"}, "& and a name in small letters"),
        ({"after.dst": "*pod"}, "no hop before stores it"),
        ({"chain": "~["}, "not a regular expression"),
        ({"tried": ">=many"}, "a whole number"),
        ({"tried": []}, "an empty list"),
    ],
)
def test_an_authors_mistake_is_said(fields: dict[str, Written], said: str) -> None:
    """A pattern that could never be met, or never be missed, is refused when it is read."""
    with pytest.raises(ValueError, match="^.*" + said.replace("&", "&")):
        expectation([fields])
