"""Breaks a node for a repair step, and puts it back as it was.

What is put back is the kernel's own state from before the first breakage, loaded again whole (`kplab.course.held`). So
a student's own rules go too, and kube-proxy's canary chains stay.
"""

from __future__ import annotations

from kplab.course.held import Held, put_back, read_held
from kplab.course.lesson import Repair, Script
from kplab.errors import ProgramError
from kplab.session.base import Session


class Breakage:
    """What this run has broken, if anything, and what the node held before."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._step: str | None = None
        """The step whose start script has run to its end."""
        self._held: Held | None = None
        """What is to be put back; None when nothing is broken."""

    def make(self, session: Session, step_id: str, repair: Repair, held: Held | None = None) -> None:
        """Run the step's start script once; what another step broke, or half a start script, is put back first.

        `held` is what the node holds, where that is known; else it is read.
        """
        if self._session is not session:
            self._session, self._step, self._held = session, None, None
        if self._step == step_id:
            return
        self.undo(session)
        self._held = held if held is not None and held.node == repair.node else read_held(session, repair.node)
        run_script(session, repair.node, repair.start)
        self._step = step_id

    def undo(self, session: Session) -> Held | None:
        """Put the node back as it was before it was broken, and return that; None when nothing is broken."""
        held = self._held if self._session is session else None
        if held is not None:
            put_back(session, held)
            self.mended()
        return held

    def mended(self) -> None:
        """The student has mended it: from now on nothing is broken, and nothing is put back."""
        self._step, self._held = None, None


def run_script(session: Session, node: str, script: Script) -> str:
    """Run a script of the lesson in a node and return what it printed; ProgramError when it fails."""
    done = session.execute(node, ("sh", "-eu", "-s"), stdin=script.text)
    if done.status != 0:
        raise ProgramError(
            f"{script.name} failed in {node}", done.stderr.strip() or done.stdout.strip(), status=done.status
        )
    return done.stdout
