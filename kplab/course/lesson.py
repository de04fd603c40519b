"""A lesson as a value: what `load` reads from a folder, and what the engine and the faces work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kplab.course.expect import NOTHING, Expectation
from kplab.model.packet import Client

StepKind = Literal["read", "predict", "send", "repair"]
"""read: nothing to do. predict: answer, then send; the kernel's trace grades it. send: make the kernel do
something. repair: mend what `enter` broke."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer that a student may choose."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before a packet is sent. How it is graded is in the step's `grade`."""

    prompt: str
    choices: tuple[Choice, ...]

    def choice(self, choice_id: str) -> Choice | None:
        """Return the choice of that id, or None."""
        return next((choice for choice in self.choices if choice.id == choice_id), None)


@dataclass(frozen=True, slots=True)
class Preset:
    """A packet that is ready to be sent: a scapy expression, or a target for a real client."""

    label: str
    expression: str
    """For curl a URL, for tcp and udp "address:port"."""
    sender: str
    client: Client = "scapy"


@dataclass(frozen=True, slots=True)
class About:
    """Which exchanges a step is about; another packet is shown, and not graded. None means any."""

    senders: tuple[str, ...] = ()
    destination: str | None = None
    """ "10.96.0.42:80", as the first hop shows it before anything is rewritten."""
    packets: int = 1
    """The least number of packets: 2 or more asks for a real client's connection."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a choice says that the kernel will do. The choice is right when the trace agrees."""

    choice_id: str
    expected: Expectation
    why: str
    """Said to a student who chose it and was wrong: what to look at, never only that it is wrong."""


@dataclass(frozen=True, slots=True)
class Gather:
    """Send until `alias` has had `count` different values, over as many packets as it takes."""

    alias: str
    count: int


@dataclass(frozen=True, slots=True)
class Grade:
    """How a step's journeys are judged: by claims (predict), or by one expectation (send)."""

    about: About = About()
    claims: tuple[Claim, ...] = ()
    expected: Expectation = NOTHING
    gather: Gather | None = None


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """The kernel's rules on a node must lead a Service's ClusterIP to each of its endpoints, evenly."""

    node: str
    service: str
    """As kube-proxy's comments name the service port: "demo/web" or "demo/web:http"."""
    endpoints: tuple[str, ...]
    """ "10.244.1.10:8080", all of them."""


@dataclass(frozen=True, slots=True)
class ServiceLookup:
    """In nftables mode: the map service-ips must lead a key to a chain that draws among all endpoints."""

    node: str
    key: str
    """As nft writes it: "10.96.0.42 . tcp . 80"."""
    endpoints: tuple[str, ...]
    """ "10.244.1.10:8080", all of them."""


@dataclass(frozen=True, slots=True)
class IpvsService:
    """In IPVS mode: a virtual server stands, packets get to it, and each of its endpoints has its turn."""

    node: str
    server: str
    """As ipvsadm writes it: "TCP 10.96.0.42:80"."""
    endpoints: tuple[str, ...]
    """ "10.244.1.10:8080", all of them."""


@dataclass(frozen=True, slots=True)
class IpvsRules:
    """In IPVS mode: filter INPUT has this mode's guards, and no rule that iptables mode has left."""

    node: str


@dataclass(frozen=True, slots=True)
class MapService:
    """In eBPF mode: the maps lead a frontend to each of its endpoints, with a slot each."""

    node: str
    frontend: str
    """ "TCP 10.96.0.42:80"."""
    endpoints: tuple[str, ...]
    """ "10.244.1.10:8080", all of them."""


@dataclass(frozen=True, slots=True)
class Connections:
    """Real connections must all be answered, and every one of `answers` must be met."""

    sender: str
    url: str
    times: int
    answers: tuple[str, ...]
    """A text that each endpoint's answer holds, such as the pod's name."""
    seconds: int = 2
    """How long one connection may take."""


KernelCheck = ServiceRules | ServiceLookup | IpvsService | IpvsRules | MapService
"""Looks at what the kernel holds."""
Check = KernelCheck | Connections


@dataclass(frozen=True, slots=True)
class Script:
    """A shell script of the lesson's folder, run with `sh` in a node's namespace."""

    name: str
    text: str
    about: str = ""
    """For a wrong answer: why somebody would try it, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What is broken, and how the mending is checked."""

    node: str
    start: Script
    solution: Script
    wrong: tuple[Script, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class LessonStep:
    """One step of a lesson. `text` and `explanation` are Markdown."""

    id: str
    title: str
    kind: StepKind
    text: str
    task: str
    """One imperative line: what the student does now."""
    question: Question | None = None
    preset: Preset | None = None
    hints: tuple[str, ...] = ()
    """In tiers: a question, a pointer, the command."""
    explanation: str = ""
    """Shown once the step is passed."""
    grade: Grade = Grade()
    repair: Repair | None = None


@dataclass(frozen=True, slots=True)
class Lesson:
    """A whole lesson."""

    id: str
    """ "lesson-3": what `kplab start` takes, and what progress is kept under."""
    number: int
    slug: str
    title: str
    summary: str
    minutes: int
    mode: str
    backend: Literal["nft", "legacy"]
    manifest: str
    """The cluster's YAML text."""
    steps: tuple[LessonStep, ...]
    presets: tuple[Preset, ...] = ()
    """Packets offered in every step."""
    folder: Path = Path()


@dataclass(frozen=True, slots=True)
class LessonInfo:
    """A line of `kplab lessons`."""

    id: str
    number: int
    slug: str
    title: str
    summary: str
    minutes: int
    steps: int
