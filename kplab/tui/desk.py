"""What the screen works on: the lab, the lesson, the latest journey, who sends and how. No toolkit."""

from __future__ import annotations

from kplab.course.engine import LessonRun
from kplab.model.completion import KnownName
from kplab.model.journey import Journey
from kplab.model.packet import Client
from kplab.scene.board import idle_board
from kplab.scene.frame import Frame
from kplab.scene.listings import homes_of
from kplab.scene.timeline import Timeline, idle_frame
from kplab.session.base import Session
from kplab.trace.recording import Facts, Recording
from kplab.tui.asking import CLIENTS
from kplab.tui.playback import Playback
from kplab.tui.rulebook import Rulebook, rulebooks


class Desk:
    """All state of the picture and the lesson; widgets only show it."""

    def __init__(self, session: Session, run: LessonRun | None, *, still: bool = False) -> None:
        self.session = session
        self.run = run
        self.still = still
        self.journey: Journey | None = None
        self.recording: Recording | None = None
        self.playback: Playback | None = None
        self.client: Client = "scapy"
        self.sender = _first_sender(session, run)
        self.names: tuple[KnownName, ...] = ()
        self.books: tuple[Rulebook, ...] = ()
        self.homes = homes_of(session.topology)
        """The pods' nodes."""
        self.busy = ""
        self.trouble: tuple[str, ...] = ()
        self.live_table = session.live
        """Whether the conntrack panel shows the table as it is now."""
        self.remark: tuple[str, ...] = ()
        """Why the lesson did not judge the last packet."""
        self._ungraded: Journey | None = None
        self._speed = 1.0
        self._idle = idle_frame(idle_board(session.topology, self.sender))

    def told(self, journey: Journey, recording: Recording, now: float, *, play: bool = True) -> None:
        """Take a new story, and play it from its beginning. The lesson judges it when it was seen to its end."""
        self._speed = self.playback.speed if self.playback else self._speed
        self.journey, self.recording = journey, recording
        self.playback = Playback(Timeline(journey, recording.topology), still=self.still, speed=self._speed)
        self.books = rulebooks(recording.nodes)
        self.live_table = False
        self.trouble, self.remark = (), ()
        self._ungraded = journey if self.run is not None and self.session.live else None
        if play:
            self.playback.play(now)

    def frame(self) -> Frame:
        """Return what is to be shown now."""
        return self.playback.frame() if self.playback else self._idle

    def grade(self, *, early: bool = False) -> bool:
        """Let the lesson judge the journey once it was seen to its end (or `early`); True when it did."""
        if self._ungraded is None or self.run is None or self.playback is None:
            return False
        last = len(self._ungraded.hops) - 1
        if not early and not self.playback.at_end and self.playback.hop < last:
            return False
        journey, self._ungraded = self._ungraded, None
        verdict = self.run.saw(journey)
        self.remark = verdict.missed if verdict is not self.run.state.verdict else ()
        return True

    @property
    def watching(self) -> bool:
        """Whether a verdict waits for the play's end."""
        return self._ungraded is not None

    def next_client(self) -> None:
        """Change from scapy to curl, tcp, udp, and round again."""
        self.client = CLIENTS[(CLIENTS.index(self.client) + 1) % len(CLIENTS)]

    def senders(self) -> tuple[str, ...]:
        """Return the namespaces that a packet can be sent from."""
        return tuple(ns.name for ns in self.session.topology.namespaces if ns.role in {"pod", "node", "outside"})

    def nodes(self) -> tuple[str, ...]:
        """Return the nodes."""
        return tuple(ns.name for ns in self.session.topology.namespaces if ns.role == "node")

    def blocked(self) -> str:
        """Return why nothing can be sent now, or ""."""
        if not self.session.live:
            return "a recording: nothing can be sent"
        if self.busy:
            return f"wait: {self.busy}"
        if self.run is not None and not self.run.ready_to_send:
            return "predict first: press the number of an answer, then send"
        return ""

    def notices(self) -> tuple[str, ...]:
        """Return what must be said besides the journey's own banners."""
        facts = self.session.facts
        recorded = () if self.session.live else (f"recorded on {_when(facts)}, not live",)
        return recorded + self.trouble

    def title(self) -> tuple[str, str, str]:
        """Return the title bar's three texts."""
        facts = self.session.facts
        right = f"{facts.written_through} · {facts.sandbox} · rules of {facts.rules_of}"
        if self.run is None:
            return "kplab · " + ("free play" if self.session.live else "replay"), "", right
        lesson = self.run.lesson
        passed = " ✓" if self.run.state.passed else ""
        return (
            f"{lesson.id} · {lesson.title}",
            f"step {self.run.index + 1}/{len(lesson.steps)}{passed}",
            right,
        )


def _first_sender(session: Session, run: LessonRun | None) -> str:
    if run is not None and run.step.preset is not None:
        return run.step.preset.sender
    pods = [ns.name for ns in session.topology.namespaces if ns.role == "pod"]
    return "client" if "client" in pods or not pods else pods[0]


def _when(facts: Facts) -> str:
    taken = facts.taken_at.replace("T", " ").removesuffix("Z")[:16] or "an unknown day"
    return f"{taken} (Linux {facts.kernel})" if facts.kernel else taken
