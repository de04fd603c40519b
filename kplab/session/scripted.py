"""A session without a lab: it answers as it was told to, and remembers what it was asked. For tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kplab.model.packet import SendSpec
from kplab.model.topology import Topology
from kplab.session.base import ExecResult, Shell
from kplab.trace.recording import Facts, NodeState, Recording, Save

Answer = Callable[[str, tuple[str, ...], str], ExecResult]
"""From a namespace, a program's argv and its input to what the program left."""


_FACTS = Facts(kplab="0", kernel="6.18", mode="iptables", backend="nft", sandbox="namespaces")


def _done(namespace: str, argv: tuple[str, ...], stdin: str) -> ExecResult:
    return ExecResult(0, "", "")


@dataclass
class ScriptedSession:
    """Keeps the protocol of `kplab.session.base.Session`; its recordings hold the question and no events."""

    topology: Topology
    rules: str = ""
    """What every node's iptables-save prints."""
    answer: Answer = _done
    live: bool = True
    facts: Facts = _FACTS
    executed: list[tuple[str, tuple[str, ...], str]] = field(default_factory=list)
    """Namespace, argv and input of every program run, in order."""
    sent: list[tuple[SendSpec, str]] = field(default_factory=list)
    """Every packet and its sender."""
    applied: list[str] = field(default_factory=list)
    closed: bool = False

    def send(self, spec: SendSpec, sender: str) -> Recording:
        """Note what was sent, and record nothing of it."""
        self.sent.append((spec, sender))
        return Recording(facts=self.facts, topology=self.topology, spec=spec, sender=sender, nodes=(), events=())

    def read_node(self, node: str) -> NodeState:
        """Return the scripted rules."""
        return NodeState(node=node, saves=(Save(family=4, backend=self.facts.backend, text=self.rules),))

    def execute(self, namespace: str, argv: tuple[str, ...], stdin: str = "") -> ExecResult:
        """Note what was run, and answer as scripted."""
        self.executed.append((namespace, argv, stdin))
        return self.answer(namespace, argv, stdin)

    def shell(self, namespace: str, columns: int, rows: int) -> Shell:
        """Raise NotImplementedError: there is no terminal to script."""
        raise NotImplementedError(f"a scripted session has no shell in {namespace}")

    def apply(self, manifest: str) -> None:
        """Note the manifest."""
        self.applied.append(manifest)

    def close(self) -> None:
        """Note the end."""
        self.closed = True
