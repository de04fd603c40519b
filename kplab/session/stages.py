"""The steps of a sandbox's own start, before the agent's."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kplab.session.base import Report, Step


@dataclass(slots=True)
class Stages:
    """Turns the stages of a sandbox's start into steps; they come before the agent's own, which begin anew at 0."""

    report: Report | None
    began: float

    def __call__(self, name: str, done: bool) -> None:
        """Tell that a step began, or that it is done."""
        if self.report:
            self.report(Step(name, done, time.monotonic() - self.began))

    def shifted(self) -> Report | None:
        """Return a report for the agent's steps, whose seconds go on from here."""
        report, gone = self.report, time.monotonic() - self.began
        return report and (lambda step: report(Step(step.name, step.done, step.seconds + gone)))
