"""What an author's check reports: a line for each thing proved, or found wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing proved, or found wrong. `step` is empty for the lesson as a whole."""

    step: str
    passed: bool
    text: str

    def __str__(self) -> str:
        mark = "ok    " if self.passed else "FAILED"
        return f"{mark} {self.step + ': ' if self.step else ''}{self.text}"


@dataclass(frozen=True, slots=True)
class Report:
    """What the check of one lesson found."""

    lesson: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found wrong."""
        return all(finding.passed for finding in self.findings)

    @property
    def lines(self) -> tuple[str, ...]:
        """The report, ready to be printed."""
        failed = sum(not finding.passed for finding in self.findings)
        total = f"{self.lesson}: {len(self.findings)} checks, " + (f"{failed} FAILED" if failed else "all passed")
        return (*(str(finding) for finding in self.findings), total)
