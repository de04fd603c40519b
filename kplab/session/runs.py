"""Labs run one after the other, each with a packet and a limit of time, and ended when asked: for comparing modes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from kplab.errors import KplabError, LabError
from kplab.model.journey import Journey
from kplab.model.packet import SendSpec
from kplab.session.base import LabPlan, Report, Session, Step
from kplab.trace.journey import tell
from kplab.trace.recording import Recording

Start = Callable[[LabPlan, Report], Session]
Doing = Callable[[str], None]
"""Told what is being done."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a mode's lab saw of the packet."""

    session: Session
    recording: Recording
    journey: Journey


class OverdueError(LabError):
    """A mode's time is up, or whoever asked has left."""


class Runs:
    """Runs one lab at a time, each for `limit` seconds at most. `stop` may be called from any thread."""

    def __init__(self, limit: float, start: Start) -> None:
        self._limit, self._start = limit, start
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._session: Session | None = None

    @property
    def stopped(self) -> bool:
        """Whether no more labs are to be run."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End the lab that stands, and begin no other."""
        self._stopped.set()
        self._close()

    @contextmanager
    def lab(self, plan: LabPlan, spec: SendSpec, sender: str, doing: Doing = lambda text: None) -> Iterator[Ran]:
        """Build a lab, send, and give what it saw; the lab stands until the block ends, or the time is up.

        Raises:
            KplabError: the lab could not be built, or failed.
            OverdueError: the limit was reached, or `stop` was called.
        """
        now = ["starting"]

        def say(text: str) -> None:
            now[0] = text
            doing(text)

        with self._timed(now) as until:
            say("building a lab")
            session = self._start(replace(plan, until=until), lambda step: self._step(step, until, say))
            with self._lock:
                self._session = session
            self._check(until)
            say("sending the packet")
            recording = session.send(spec, sender)
            journey = tell(recording)
            say("timing connections")
            yield Ran(session, recording, journey)

    def _step(self, step: Step, until: float, say: Doing) -> None:
        """Take a step of the lab's building."""
        self._check(until)
        if not step.done:
            say(step.name)

    def _check(self, until: float) -> None:
        if self._stopped.is_set() or time.monotonic() >= until:
            raise OverdueError("build a lab")

    @contextmanager
    def _timed(self, doing: list[str]) -> Iterator[float]:
        """Close the lab at the limit or the end; what fails because of that is told as what it is."""
        until = time.monotonic() + self._limit
        timer = threading.Timer(self._limit, self._close)
        timer.daemon = True
        timer.start()
        try:
            yield until
        except KplabError as error:
            if self._stopped.is_set():
                raise OverdueError("it was interrupted", doing[0]) from error
            if time.monotonic() >= until:
                tried = f"it was not done within {self._limit:g} s"
                raise OverdueError(tried, f"it was at: {doing[0]}", "(more time: --limit SECONDS)") from error
            raise
        finally:
            timer.cancel()
            self._close()

    def _close(self) -> None:
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()
