"""Breaks a node for a repair step, and puts it back as it was.

What is put back is the kernel's own: the node's iptables-save text, or in nftables mode its listing of kube-proxy's
tables, from before the first breakage, loaded again whole. So a student's own rules go too, and kube-proxy's canary
chains stay.
"""

from __future__ import annotations

from kplab.course.lesson import Repair, Script
from kplab.errors import ProgramError
from kplab.session.base import Session
from kplab.trace.recording import Save

_RESTORE = {4: "iptables", 6: "ip6tables"}


class Breakage:
    """What this run has broken, if anything, and what the node held before."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._step: str | None = None
        """The step whose start script has run to its end."""
        self._node = ""
        self._saves: tuple[Save, ...] = ()
        self._tables = ""
        """What is to be put back; both are empty when nothing is broken."""

    def make(self, session: Session, step_id: str, repair: Repair) -> None:
        """Run the step's start script once; what another step broke, or half a start script, is put back first."""
        if self._session is not session:
            self._session, self._step, self._saves, self._tables = session, None, (), ""
        if self._step == step_id:
            return
        self.undo(session)
        self._node, self._saves = repair.node, session.read_node(repair.node).saves
        if session.facts.mode == "nftables":
            self._tables = _listed_tables(session, repair.node)
        run_script(session, repair.node, repair.start)
        self._step = step_id

    def undo(self, session: Session) -> None:
        """Put the node back as it was before it was broken; nothing to do when nothing is broken."""
        if self._session is not session:
            return
        for save in self._saves:
            self._load(session, f"{_RESTORE[save.family]}-{save.backend}-restore", text=save.text)
        if self._tables:
            self._load(session, "nft", "-f", "-", text=self._tables)
        self.mended()

    def _load(self, session: Session, *argv: str, text: str) -> None:
        done = session.execute(self._node, argv, stdin=text)
        if done.status != 0:
            raise ProgramError(
                f"the rules of {self._node} could not be put back ({argv[0]})",
                done.stderr.strip(),
                "Leave the lesson and start it again: that makes a new lab, and your progress is kept.",
                status=done.status,
            )

    def mended(self) -> None:
        """The student has mended it: from now on nothing is broken, and nothing is put back."""
        self._step, self._saves, self._tables = None, (), ""


def _listed_tables(session: Session, node: str) -> str:
    """Return one transaction that makes kube-proxy's tables what they are now, whatever they are then."""
    text = ""
    for family in ("ip", "ip6"):
        listed = session.execute(node, ("nft", "list", "table", family, "kube-proxy"))
        if listed.status == 0:
            name = f"{family} kube-proxy"
            text += f"add table {name}\ndelete table {name}\n{listed.stdout}"
    return text


def run_script(session: Session, node: str, script: Script) -> str:
    """Run a script of the lesson in a node and return what it printed; ProgramError when it fails."""
    done = session.execute(node, ("sh", "-eu", "-s"), stdin=script.text)
    if done.status != 0:
        raise ProgramError(
            f"{script.name} failed in {node}", done.stderr.strip() or done.stdout.strip(), status=done.status
        )
    return done.stdout
