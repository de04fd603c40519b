"""What the feed tells the screen. Each says what came of one call of the session."""

from __future__ import annotations

from textual.message import Message

from kplab.errors import KplabError
from kplab.model.completion import KnownName
from kplab.model.journey import Journey
from kplab.session.base import Session, Step
from kplab.trace.recording import NodeState, Recording


class LabStep(Message):
    """A step of building the lab began or ended."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step


class LabReady(Message):
    """The lab stands."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session


class Told(Message):
    """A packet's story."""

    def __init__(self, journey: Journey, recording: Recording) -> None:
        super().__init__()
        self.journey = journey
        self.recording = recording


class NodesRead(Message):
    """What nodes' kernels hold now."""

    def __init__(self, states: tuple[NodeState, ...]) -> None:
        super().__init__()
        self.states = states

    def can_replace(self, message: Message) -> bool:
        """Only the newest reading is of use."""
        return isinstance(message, NodesRead) and len(message.states) == len(self.states)


class NamesKnown(Message):
    """Names of the cluster, for completion."""

    def __init__(self, names: tuple[KnownName, ...]) -> None:
        super().__init__()
        self.names = names


class StepChanged(Message):
    """The lesson's step was prepared, checked or reset."""


class Failed(Message):
    """A call failed; `doing` says which."""

    def __init__(self, doing: str, error: KplabError) -> None:
        super().__init__()
        self.doing = doing
        self.error = error
