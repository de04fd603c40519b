"""`kplab.Lab`: a lab for notebooks and scripts. Its calls block, and what they return shows itself."""

from __future__ import annotations

import shlex
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from kplab.course.load import lessons_folder
from kplab.errors import KplabError, LabError, UnknownNameError
from kplab.jupyter.asking import ScapyPacket, read_config, read_manifest, read_packet, read_request
from kplab.jupyter.installed import require
from kplab.jupyter.progress import BuildProgress
from kplab.jupyter.ran import Ran
from kplab.jupyter.shown import JourneyView
from kplab.model.packet import SendSpec
from kplab.model.topology import Topology
from kplab.modes.registry import compiler
from kplab.session.base import LabPlan
from kplab.session.live import LiveSession, start_lab
from kplab.trace.journey import tell
from kplab.trace.recording import Backend, Facts


class Interrupted(KeyboardInterrupt):
    """The user interrupted a question to the lab; told in words, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"Interrupted: {self}"]


class Lab:
    """A cluster's network on this machine: pods, nodes, kube-proxy, and a kernel that says what it does.

    It ends with `close`, at the end of a `with` block, when nothing refers to it any more, and with this process,
    however that ends: the lab's own process sees the connection close.
    """

    def __init__(
        self,
        mode: str = "iptables",
        manifest: str | Path | None = None,
        *,
        backend: Backend = "nft",
        sandbox: str = "auto",
        config: str | Path | None = None,
    ) -> None:
        """Build it; `manifest` and `config` are files or YAML text, `manifest` None is the lab's own cluster.

        Raises:
            NotInstalledError: what a notebook needs is not there.
            SandboxError: no lab can be started on this machine; the hint says what mends it.
            UsageError: mode, manifest or configuration cannot be used. LabError: something could not be built.
        """
        require("make a lab for a notebook", "IPython", "anywidget")
        compiler(mode)  # a mode that does not exist is told before anything is built
        self._plan = LabPlan(
            manifest=read_manifest(manifest, lessons_folder() / "cluster.yaml"),
            mode=mode,
            backend=backend,
            config=read_config(config),
            sandbox=sandbox,
        )
        self._session = _started(self._plan)
        self._end = weakref.finalize(self, self._session.close)

    @property
    def topology(self) -> Topology:
        """Its namespaces, the links between them, and their routes."""
        return self._session.topology

    @property
    def facts(self) -> Facts:
        """Its mode, kernel and sandbox."""
        return self._session.facts

    @property
    def pods(self) -> tuple[str, ...]:
        """The names of its pods."""
        return tuple(ns.name for ns in self.topology.namespaces if ns.role == "pod")

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of its nodes."""
        return tuple(ns.name for ns in self.topology.namespaces if ns.role == "node")

    @property
    def closed(self) -> bool:
        """Whether it was ended from here."""
        return not self._end.alive

    def send(self, packet: str | ScapyPacket, from_: str = "client") -> JourneyView:
        """Send one packet, scapy's own object or the same as text, and return its journey.

        Raises:
            ExpressionError: it cannot be sent. UnknownNameError: there is no such sender. LabError, ProtocolError.
        """
        return self._follow(read_packet(packet), from_)

    def request(self, target: str, from_: str = "client") -> JourneyView:
        """Let a real client connect, to a URL (curl), `tcp://host:port` or `udp://host:port`; return its journey.

        Raises:
            UsageError: the target is none of these. UnknownNameError, LabError, ProtocolError.
        """
        return self._follow(read_request(target), from_)

    def run(self, where: str, command: str | tuple[str, ...]) -> Ran:
        """Run a command line of a shell, or a program with its arguments, in a pod, a node or `outside`."""
        argv = ("sh", "-c", command) if isinstance(command, str) else tuple(command)
        with self._asked() as session:
            done = session.execute(where, argv)
            return Ran(where, command if isinstance(command, str) else shlex.join(command), done)

    def apply(self, manifest: str | Path) -> None:
        """Replace the cluster's state by a file or YAML text, and wait until every kube-proxy has synced it.

        Raises:
            ManifestError: it cannot be read.
        """
        text = read_manifest(manifest, lessons_folder() / "cluster.yaml")
        with self._asked() as session:
            session.apply(text)

    def close(self) -> None:
        """End the lab; nothing of it is left. May be called again."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.closed:
            return "<kplab.Lab: it has ended>"
        return f"<kplab.Lab: {self._described()}>"

    def _described(self) -> str:
        return described(self.facts, self.topology)

    def _follow(self, spec: SendSpec, sender: str) -> JourneyView:
        self._require_place(sender)
        with self._asked() as session:
            recording = session.send(spec, sender)
            return JourneyView(tell(recording), recording)

    def _require_place(self, name: str) -> None:
        if self.topology.namespace(name) is None:
            known = ", ".join(ns.name for ns in self.topology.namespaces if ns.role != "underlay")
            raise UnknownNameError(f"send from {name!r}", "there is no such pod or node", f"There are: {known}")

    @contextmanager
    def _asked(self) -> Iterator[LiveSession]:
        """Hand out the session for one question.

        Raises:
            LabError: the lab has ended. Interrupted: the user did not wait for the answer.
        """
        if self.closed:
            raise LabError("use this lab", "it has ended", "Make a new one: lab = kplab.Lab()")
        try:
            yield self._session
        except KeyboardInterrupt:
            raise Interrupted("the lab still stands, and what it was doing is forgotten. Ask again.") from None


def described(facts: Facts, topology: Topology) -> str:
    """Return a lab in a line."""
    pods = sum(ns.role == "pod" for ns in topology.namespaces)
    nodes = sum(ns.role == "node" for ns in topology.namespaces)
    return f"{facts.written_through}, {nodes} nodes, {pods} pods, kernel {facts.kernel}, in {facts.sandbox}"


def _started(plan: LabPlan) -> LiveSession:
    progress = BuildProgress("building a lab")
    try:
        session = start_lab(plan, progress)
    except KeyboardInterrupt:
        progress.finish("the lab was not built: interrupted, and nothing of it is left")
        raise Interrupted("the lab was not built, and nothing of it is left") from None
    except KplabError:
        progress.finish("the lab was not built")
        raise
    progress.finish(f"lab ready: {described(session.facts, session.topology)}")
    return session
