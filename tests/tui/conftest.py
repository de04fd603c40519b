"""A lab without a lab: a scripted session, a journey written by hand, and a screen whose time is the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from textual.events import Paste
from textual.pilot import Pilot

from kplab.course.engine import LessonRun
from kplab.course.expect import expectation
from kplab.course.lesson import (
    Choice,
    Claim,
    Connections,
    Grade,
    Lesson,
    LessonStep,
    Preset,
    Question,
    Repair,
    Script,
)
from kplab.errors import KplabError
from kplab.model.journey import Journey
from kplab.model.packet import ClientSpec, SendSpec
from kplab.model.topology import Topology
from kplab.session.base import ExecResult, Report, Session
from kplab.session.replay import ReplaySession
from kplab.session.scripted import ScriptedSession
from kplab.trace.journey import tell
from kplab.trace.recording import NodeState, Recording, Save
from kplab.tui.app import KplabApp
from kplab.tui.screens.lesson import LessonScreen

DATA = Path(__file__).parents[1] / "data"
SYN = Preset("a SYN to demo/web", 'IP(dst="10.96.0.42")/TCP(dport=80, flags="S")', "client")
MANIFEST = """
apiVersion: v1
kind: Service
metadata: {namespace: demo, name: web}
spec: {clusterIP: 10.96.0.42, ports: [{name: http, port: 80}]}
"""


@dataclass
class FakeSession(ScriptedSession):
    """A lab whose nodes hold a real kube-proxy's rules; a curl is answered when `mended` is set."""

    mended: bool = False
    refuses: KplabError | None = None
    conntrack: tuple[str, ...] = ()
    reads: list[str] = field(default_factory=list)

    def send(self, spec: SendSpec, sender: str) -> Recording:
        """Answer with the nodes' rules, or refuse."""
        if self.refuses is not None:
            raise self.refuses
        recording = super().send(spec, sender)
        return msgspec.structs.replace(recording, nodes=(self.read_node("node-a"), self.read_node("node-b")))

    def read_node(self, node: str) -> NodeState:
        """Return the rules and the conntrack table."""
        self.reads.append(node)
        return NodeState(
            node=node, saves=(Save(family=4, backend="nft", text=self.rules),), conntrack_before=self.conntrack
        )

    def execute(self, namespace: str, argv: tuple[str, ...], stdin: str = "") -> ExecResult:
        """Let curl succeed once the student has mended the Service."""
        super().execute(namespace, argv, stdin)
        if argv[0] == "curl":
            return ExecResult(0, "pod: web-3\n", "") if self.mended else ExecResult(28, "", "timed out")
        return ExecResult(0, "", "")


def small_lesson() -> Lesson:
    """A lesson with a step of each kind."""
    question = Question("Which endpoint will it meet?", (Choice("a", "web-1"), Choice("b", "web-3")))
    predict = Grade(
        claims=(
            Claim("a", expectation([{"kind": "delivered", "node": "web-1"}]), "look at where it was delivered"),
            Claim("b", expectation([{"kind": "delivered", "node": "web-3"}]), "look at where it was delivered"),
        )
    )
    repair = Repair(
        "node-a", Script("start.sh", "true"), Script("solution.sh", "true"), (),
        (Connections("client", "http://10.96.0.42/", 1, ("web-3",)),),
    )  # fmt: skip
    return Lesson(
        id="lesson-0", number=0, slug="small", title="A small lesson", summary="Each kind of step.", minutes=1,
        mode="iptables", backend="nft", manifest=MANIFEST,
        steps=(
            LessonStep("read", "Read this", "read", "A Service is **rules**.", "Read, then go on."),
            LessonStep("predict", "Guess", "predict", "Three endpoints.", "Answer, then send.", question, SYN,
                       ("Look at the last rule.", "It asks nothing."), "The draws decide.", predict),
            LessonStep("send", "Send", "send", "Send a SYN.", "Send it.", None, SYN, (), "It went.",
                       Grade(expected=expectation([{"kind": "DNAT"}]))),
            LessonStep("repair", "Repair", "repair", "It is broken.", "Mend it.", repair=repair),
        ),
        presets=(SYN,),
    )  # fmt: skip


@dataclass
class Stage:
    """An app under test, its session, its lesson, and the time."""

    app: KplabApp
    session: Session
    run: LessonRun | None
    pilot: Pilot[int] | None = None
    now: float = 0.0

    @property
    def screen(self) -> LessonScreen:
        """The lesson's screen."""
        return next(s for s in self.app.screen_stack if isinstance(s, LessonScreen))

    async def press(self, *keys: str) -> None:
        """Press keys, and wait until the screen has settled."""
        assert self.pilot is not None
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def type(self, text: str) -> None:
        """Put a text into the line that has the focus, as a paste does."""
        assert self.app.focused is not None
        self.app.focused.post_message(Paste(text))
        await self.settle()

    async def keys(self, text: str) -> None:
        """Type a text, one key for each character."""
        names = {"/": "slash", " ": "space"}
        assert self.pilot is not None
        await self.pilot.press(*(names.get(char, char) for char in text))
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is left to be done."""
        assert self.pilot is not None
        await self.pilot.pause()
        grading = [worker for worker in self.app.workers if worker.group == "grading"]
        if grading:
            await self.app.workers.wait_for_complete(grading)
            await self.pilot.pause()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, in frames of a thirtieth of a second."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 1 / 30, until)
            self.screen.tick(self.now)
        await self.settle()

    def notices(self) -> list[str]:
        """Return what was said in passing."""
        return [note.message for note in self.app._notifications]

    def text(self) -> str:
        """Return what the screen shows, as text."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


@pytest.fixture
def journey() -> Journey:
    """A SYN to 10.96.0.42 and its answer, 41 hops."""
    return msgspec.json.decode((DATA / "scene" / "journey.json").read_bytes(), type=Journey)


@pytest.fixture
def topology() -> Topology:
    """Two nodes, five pods, an outside host and the underlay."""
    return msgspec.json.decode((DATA / "scene" / "topology.json").read_bytes(), type=Topology)


@pytest.fixture
def session(topology: Topology) -> FakeSession:
    """A lab whose nodes hold what kube-proxy wrote for fifty Services."""
    rules = (DATA / "golden" / "fifty-services" / "iptables-nft.iptables-save").read_text()
    return FakeSession(topology, rules=rules)


OpenStage = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def small() -> Lesson:
    """A lesson with a step of each kind."""
    return small_lesson()


@pytest.fixture
def stage(session: FakeSession, journey: Journey) -> OpenStage:
    """Return what opens the screen, for `async with`.

    `lesson` None is free play; `journeys` are the stories that packets will have, the last one again and again;
    `build` shows the lab being built first; `live` False replays the first journey.
    """

    @asynccontextmanager
    async def opened(
        *,
        size: tuple[int, int] = (120, 36),
        lesson: Lesson | None = None,
        journeys: tuple[Journey, ...] = (journey,),
        build: Callable[[Report], Session] | None = None,
        live: bool = True,
        ticking: bool = False,
    ) -> AsyncIterator[Stage]:
        run = LessonRun(lesson, None, lambda: 0.0) if lesson is not None else None
        told = list(journeys)
        made: list[Stage] = []

        def tell(recording: Recording) -> Journey:
            return told.pop(0) if len(told) > 1 else told[0]

        session.live = live
        recording = ScriptedSession.send(session, ClientSpec("curl", "http://10.96.0.42/"), "client")
        recording = msgspec.structs.replace(recording, nodes=(session.read_node("node-a"),))
        session.sent.clear()
        app = KplabApp(
            tell,
            start=build,
            session=None if build is not None else session,
            story=None if live else (journeys[0], recording),
            run=run,
            manifest=MANIFEST,
            clock=lambda: made[0].now if made else 0.0,
            ticking=ticking,
            inline=True,
        )
        made.append(Stage(app, session, run))
        async with app.run_test(size=size) as pilot:
            made[0].pilot = pilot
            await made[0].settle()
            yield made[0]

    return opened


OpenReplay = Callable[[Recording], AbstractAsyncContextManager[Stage]]


@pytest.fixture
def replay() -> OpenReplay:
    """Return what opens the screen on a recording, for `async with`."""

    @asynccontextmanager
    async def opened(recording: Recording, size: tuple[int, int] = (120, 36)) -> AsyncIterator[Stage]:
        session = ReplaySession(recording)
        app = KplabApp(tell, session=session, story=(tell(recording), recording), ticking=False, inline=True)
        shown = Stage(app, session, None)
        async with app.run_test(size=size) as pilot:
            shown.pilot = pilot
            await shown.settle()
            yield shown

    return opened
