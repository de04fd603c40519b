"""Exercises judged by the kernel: journeys, checks of lessons, and the student's own findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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

Checkable = JourneyView | Check | bool | None
SHOWN = 3


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


def check(
    what: Sequence[Checkable | object], hops: Hops, never: Hops, saying: str, ask: Callable[[Check], Verdict]
) -> Checked:
    """Judge all of them; one that is `...` or None is an exercise that was not begun.

    Raises:
        UsageError: something cannot be checked, or the hops are ill-formed.
    """
    verdicts = [_one(each, hops, never, saying, ask) for each in what]
    if not verdicts:
        raise UsageError(
            "check nothing", "", "lab.check(journey, hops=[…]), lab.check(ServiceRules(…)), lab.check(a == b)"
        )
    lines = tuple(line for verdict in verdicts for line in verdict.lines)
    missed = tuple(line for verdict in verdicts for line in verdict.missed)
    return Checked(Verdict(all(verdict.passed for verdict in verdicts), lines, missed))


def _one(what: object, hops: Hops, never: Hops, saying: str, ask: Callable[[Check], Verdict]) -> Verdict:
    if what is None or what is ...:
        return Verdict(
            False, (saying or "Not done yet.",), ("Put your answer in place of the dots, and run the cell.",)
        )
    if isinstance(what, JourneyView):
        return _journey(what, hops, never, saying)
    if isinstance(what, CHECKS):
        return ask(what)
    if isinstance(what, bool) or hasattr(what, "__bool__"):
        agreed = bool(what)
        return Verdict(
            agreed, (saying or "the kernel's own numbers",), () if agreed else ("the kernel says otherwise",)
        )
    raise UsageError(
        f"check a {type(what).__name__}", "", "a journey, a check such as ServiceRules(…), or a comparison"
    )


def _journey(view: JourneyView, hops: Hops, never: Hops, saying: str) -> Verdict:
    try:
        expected = expectation(hops, never)
    except ValueError as error:
        raise UsageError("check a journey", str(error), "docs/lessons.md has the language of hops") from None
    outcome = match(expected, view.journey)
    if not outcome.passed:
        return Verdict(False, (saying or view.outcome,), outcome.missed)
    told = tuple(f"hop {hop.n}, {hop.node}: {hop.text}" for hop in outcome.found[:SHOWN])
    return Verdict(True, (saying or "The kernel did it:", *told))


def ask_session(session: Session, wanted: Check) -> Verdict:
    """Carry out a lesson's check in the lab."""
    findings = examine(wanted, session)
    return Verdict(not findings.missed, findings.lines, findings.missed)
