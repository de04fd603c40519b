"""The only place that calls a session: one job after the other in a thread, answers posted as messages.

Nothing here touches a widget. A job that fails posts `Failed`; it never takes the screen down.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from textual.message import Message

from kplab.course.engine import LessonRun
from kplab.errors import KplabError
from kplab.model.journey import Journey
from kplab.model.packet import SendSpec
from kplab.session.base import Report, Session
from kplab.trace.recording import Recording
from kplab.tui.asking import known_names
from kplab.tui.messages import Failed, LabReady, LabStep, NamesKnown, NodesRead, StepChanged, Told

Starter = Callable[[Report], Session]
Teller = Callable[[Recording], Journey]
Job = Callable[[], Message | None]

_PATIENCE = 10.0
"""Seconds to wait for a lab that is still being built when the screen closes."""


class Feed:
    """Runs jobs in order. `post` may be called from any thread; `inline` runs each job at once, for tests."""

    def __init__(self, post: Callable[[Message], object], tell: Teller, *, inline: bool = False) -> None:
        self._post = post
        self._tell = tell
        self._inline = inline
        self._jobs: SimpleQueue[tuple[str, Job] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="kplab-feed", daemon=True)
        self._session: Session | None = None
        self._closed = False
        self._building = threading.Event()
        self._building.set()
        if not inline:
            self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be done."""
        return self._jobs.empty()

    def build(self, start: Starter) -> None:
        """Build the lab; posts a `LabStep` for each step, then `LabReady`."""
        self._building.clear()

        def job() -> Message:
            try:
                self._session = start(lambda step: self._say(LabStep(step)))
            finally:
                self._building.set()
            return LabReady(self._session)

        self._submit("building the lab", job)

    def take(self, session: Session) -> None:
        """Work with a session that exists already."""
        self._session = session

    def ask(self, session: Session, spec: SendSpec, sender: str) -> None:
        """Send a packet; posts `Told`."""

        def job() -> Message:
            recording = session.send(spec, sender)
            return Told(self._tell(recording), recording)

        self._submit("sending", job)

    def read(self, session: Session, nodes: tuple[str, ...]) -> None:
        """Read what nodes hold now; posts `NodesRead`."""
        self._submit("reading the nodes", lambda: NodesRead(tuple(session.read_node(node) for node in nodes)))

    def learn_names(self, manifest: str, session: Session) -> None:
        """Read the cluster's names; posts `NamesKnown`."""
        self._submit("reading the manifest", lambda: NamesKnown(known_names(manifest, session.topology)))

    def enter(self, run: LessonRun, session: Session) -> None:
        """Prepare the lesson's step in the lab; posts `StepChanged`."""

        def job() -> Message:
            run.enter(session)
            return StepChanged()

        self._submit("preparing the step", job)

    def check(self, run: LessonRun, session: Session) -> None:
        """Check a repair; posts `StepChanged`."""

        def job() -> Message:
            run.check(session)
            return StepChanged()

        self._submit("checking", job)

    def reset(self, run: LessonRun, session: Session) -> None:
        """Begin the step anew; posts `StepChanged`."""

        def job() -> Message:
            run.reset(session)
            return StepChanged()

        self._submit("resetting the step", job)

    def close(self) -> None:
        """Take no more jobs, wait for a lab that is half built, and close the session."""
        self._closed = True
        while True:
            try:
                self._jobs.get_nowait()
            except Empty:
                break
        self._jobs.put(None)
        self._building.wait(_PATIENCE)
        if self._session is not None:
            self._session.close()

    def _submit(self, doing: str, job: Job) -> None:
        if self._inline:
            self._run(doing, job)
        elif not self._closed:
            self._jobs.put((doing, job))

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            self._run(*item)

    def _run(self, doing: str, job: Job) -> None:
        try:
            message = job()
        except KplabError as error:
            message = Failed(doing, error)
        except Exception as error:  # the worker's edge: a bug must not freeze the screen, nor hide
            said = f"{type(error).__name__}: {error}"
            message = Failed(doing, KplabError(f"{doing} failed", said, "This is a fault of kplab; please report it."))
        if message is not None:
            self._say(message)

    def _say(self, message: Message) -> None:
        if not self._closed:
            self._post(message)
