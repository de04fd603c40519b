"""Exercises judged by the kernel: journeys, checks of lessons, and the student's own findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kplab.course.checks import examine
from kplab.course.expect import expectation, match
from kplab.course.grading import Verdict
from kplab.course.lesson import (
    Check,
    Connections,
    IpvsRules,
    IpvsService,
    MapService,
    ServiceLookup,
    ServiceRules,
)
from kplab.errors import UsageError
from kplab.jupyter.predicting import Hops, shown_verdict
from kplab.jupyter.shown import JourneyView
from kplab.session.base import Session

CHECKS = (ServiceRules, ServiceLookup, Connections, IpvsRules, IpvsService, MapService)
"""What lessons check repairs with."""

SHOWN = 3
_BOOLEANS = ("bool", "bool_")
"""Python's own, and numpy's, which a comparison of a table's numbers gives."""


class Checked:
    """What `lab.check` returns: passed or not, with what was found. It never raises, so that a notebook runs on."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    @property
    def passed(self) -> bool:
        """Whether the kernel agrees."""
        return self.verdict.passed

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return repr(shown_verdict(self.verdict))

    def _repr_html_(self) -> str:
        return shown_verdict(self.verdict)._repr_html_()


@dataclass(frozen=True, slots=True)
class Measure:
    """What exercises are held against."""

    hops: Hops = ()
    """Patterns that a journey must have, in this order."""
    never: Hops = ()
    equals: object = ...
    """What the student's own value must be; `...` when there is no such thing."""
    saying: str = ""
    """Said of what was checked, in place of what was found."""


def check(what: Sequence[object], measure: Measure, ask: Callable[[Check], Verdict]) -> Checked:
    """Judge all of them; one that is `...` or None is an exercise that was not begun.

    Raises:
        UsageError: something cannot be checked, or the hops are ill-formed.
    """
    verdicts = [_one(each, measure, ask) for each in what]
    if not verdicts:
        raise UsageError(
            "check nothing", "", "lab.check(journey, hops=[…]), lab.check(ServiceRules(…)), lab.check(a == b)"
        )
    lines = tuple(line for verdict in verdicts for line in verdict.lines)
    missed = tuple(line for verdict in verdicts for line in verdict.missed)
    return Checked(Verdict(all(verdict.passed for verdict in verdicts), lines, missed))


def _one(what: object, measure: Measure, ask: Callable[[Check], Verdict]) -> Verdict:
    if what is None or what is ...:
        said = measure.saying or "Not done yet."
        return Verdict(False, (said,), ("Put your answer in place of the dots, and run the cell.",))
    if measure.equals is not ...:
        return _agreement(bool(what == measure.equals), measure.saying)
    if isinstance(what, JourneyView):
        return _journey(what, measure)
    if isinstance(what, CHECKS):
        return ask(what)
    if type(what).__name__ in _BOOLEANS:
        return _agreement(bool(what), measure.saying)
    raise UsageError(
        f"check a {type(what).__name__}", "", "A journey, a check such as ServiceRules(…), or a comparison"
    )


def _agreement(agreed: bool, saying: str) -> Verdict:
    said = saying or "your answer beside the kernel's"
    return Verdict(agreed, (said,), () if agreed else ("The kernel says otherwise.",))


def _journey(view: JourneyView, measure: Measure) -> Verdict:
    try:
        expected = expectation(measure.hops, measure.never)
    except ValueError as error:
        raise UsageError("check a journey", str(error), "docs/lessons.md has the language of hops") from None
    outcome = match(expected, view.journey)
    if not outcome.passed:
        return Verdict(False, (measure.saying or view.outcome,), outcome.missed)
    told = tuple(f"hop {hop.n}, {hop.node}: {hop.text}" for hop in outcome.found[:SHOWN])
    return Verdict(True, (measure.saying or "The kernel did it:", *told))


def ask_session(session: Session, wanted: Check) -> Verdict:
    """Carry out a lesson's check in the lab."""
    findings = examine(wanted, session)
    return Verdict(not findings.missed, findings.lines, findings.missed)
