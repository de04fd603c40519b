"""What a program in the lab printed, as a value that shows itself."""

from __future__ import annotations

from kplab.session.base import ExecResult


class Ran:
    """A command that was run in a namespace of the lab: prints like a terminal."""

    def __init__(self, where: str, command: str, done: ExecResult) -> None:
        self.where = where
        self.command = command
        self.status = done.status
        """The exit status; 0 is success."""
        self.stdout = done.stdout
        self.stderr = done.stderr

    @property
    def lines(self) -> list[str]:
        """What it printed, line by line."""
        return self.stdout.splitlines()

    def __repr__(self) -> str:
        printed = "\n".join(text.rstrip("\n") for text in (self.stdout, self.stderr) if text)
        status = f"\n(exit status {self.status})" if self.status else ""
        return f"{self.where}# {self.command}\n{printed}{status}".rstrip("\n")
