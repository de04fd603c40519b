"""`kplab.Lab`: a lab for notebooks and scripts. Its calls block, and what they return shows itself."""

from __future__ import annotations

import json
import shlex
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from kplab.course.lesson import About
from kplab.course.load import lessons_folder
from kplab.errors import KplabError, LabError, ProgramError, UnknownNameError, UsageError
from kplab.jupyter.answers import Answers
from kplab.jupyter.asking import ScapyPacket, read_config, read_manifest, read_packet, read_request
from kplab.jupyter.chains import Family, find_chains, graph_of, light
from kplab.jupyter.checking import Checked, Measure, ask_session, check
from kplab.jupyter.comparing import ComparisonView, Wanted, compare, plans_for
from kplab.jupyter.conntrack import ConntrackTable, read_conntrack
from kplab.jupyter.graph import ChainGraph
from kplab.jupyter.installed import require
from kplab.jupyter.predicting import Hops, Prediction, read_claims, show
from kplab.jupyter.progress import BuildProgress, Shown
from kplab.jupyter.ran import Ran
from kplab.jupyter.rules import Rules, rules_of_node
from kplab.jupyter.shown import JourneyView
from kplab.model.packet import SendSpec
from kplab.model.topology import Topology
from kplab.modes.registry import compiler
from kplab.session.base import LabPlan
from kplab.session.live import LiveSession, start_lab
from kplab.session.own_program import own_program
from kplab.trace.journey import tell
from kplab.trace.recording import Backend, Facts

BATCH = 250
"""Connections that one program opens; a pod's program has half a minute."""


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
        self.prediction: Prediction | None = None
        """The question that the next journey answers."""

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

    def connect(self, target: str, times: int = 1000, from_: str = "client") -> Answers:
        """Open many connections from a pod, one after the other, each asking a pod's name; nothing of them is traced.

        Raises:
            UsageError: `target` is no URL of http. ProgramError: the client failed.
        """
        place = urlsplit(target if "://" in target else f"http://{target}")
        if place.scheme != "http" or not place.hostname or times < 1:
            raise UsageError(f"connect to {target!r}, {times} times", "", 'Like lab.connect("http://10.96.0.42", 1000)')
        self._require_place(from_)
        order: list[str] = []
        failed: Counter[str] = Counter()
        for begin in range(0, times, BATCH):
            argv = (place.hostname, str(place.port or 80), str(min(BATCH, times - begin)))
            with self._asked() as session:
                done = session.execute(from_, own_program("kplab.lab.many", *argv))
            if done.status != 0:
                raise ProgramError(f"connect to {target} from {from_}", done.stderr.strip()[-300:], status=done.status)
            told = json.loads(done.stdout)
            order += told["answers"]
            failed.update(told["failed"])
            if told["failed"]:
                break
        return Answers(target, tuple(order), dict(failed), times)

    def rules(self, node: str | None = None) -> Rules:
        """Return what the commands on a node print: the first node's, or that of `node`."""
        with self._asked() as session:
            return rules_of_node(session.read_node(self._node(node)))

    def conntrack(self, node: str | None = None) -> ConntrackTable:
        """Return the connections that a node's kernel remembers now, of both IP families."""
        where = self._node(node)
        with self._asked() as session:
            lines: list[str] = []
            for family in ("ipv4", "ipv6"):
                done = session.execute(where, ("conntrack", "-L", "-f", family, "-o", "id"))
                if done.status != 0:
                    raise ProgramError("read the conntrack table", done.stderr.strip(), status=done.status)
                lines += done.stdout.splitlines()
        return read_conntrack(where, lines)

    def graph(
        self, journey: JourneyView | None = None, *, node: str | None = None, family: Family = 4, whole: bool = False
    ) -> ChainGraph:
        """Return a node's chains as a graph, with the journey's way through them lit.

        With a journey, only what it walked and a few neighbours are drawn; `whole` draws everything.

        Raises:
            NotInstalledError: networkx is not there; graphviz is asked for when it is drawn.
        """
        walked = [hop.node for hop in journey.hops if hop.chain] if journey else []
        where = self._node(node or next(iter(walked), None))
        with self._asked() as session:
            state = session.read_node(where)
        graph = graph_of(find_chains(state, family, self.facts.backend))
        if journey:
            light(graph, [hop for hop in journey.hops if hop.node == where])
        return ChainGraph(where, graph, whole)

    def predict(
        self,
        prompt: str,
        choices: Sequence[str] | Mapping[str, Hops | Mapping[str, Any]],
        *,
        answer: str | None = None,
        senders: Sequence[str] = (),
        destination: str | None = None,
        packets: int = 1,
    ) -> Prediction:
        """Ask what the kernel will do; the next journey that is about it says who was right.

        `choices` are names of pods or chains, or a dictionary from what is read to the hops that it claims, or to
        `hops`, `never` and `why`. `senders`, `destination` ("10.96.0.42:80") and `packets` say which journeys it is
        about.

        Raises:
            UsageError: a choice claims nothing that a journey could hold, or `answer` is none of them.
        """
        about = About(tuple(senders), destination, packets)
        prediction = Prediction(prompt, read_claims(choices, self.topology), about)
        if self.prediction:
            prediction.asked_again(self.prediction)
        if answer is not None:
            prediction.say(answer)
        self.prediction = prediction
        return prediction

    def answer(self, answer: str) -> Shown:
        """Answer the question that was asked last, by its letter or in its words; return what was said.

        Raises:
            UsageError: nothing was asked, or there is no such choice.
        """
        if self.prediction is None:
            raise UsageError("answer a question", "none was asked", "lab.predict(…) asks one")
        return self.prediction.say(answer)

    def check(
        self, *what: object, hops: Hops = (), never: Hops = (), equals: object = ..., saying: str = ""
    ) -> Checked:
        """Judge an exercise: a journey by its hops, a lesson's check, an answer that `equals` the kernel's, a truth.

        What is still `...` is said to be not done yet; nothing is raised, so that a notebook runs on.

        Raises:
            UsageError: something cannot be checked.
        """
        with self._asked() as session:
            measure = Measure(hops, never, equals, saying)
            return check(what, measure, lambda wanted: ask_session(session, wanted))

    def compare(
        self,
        modes: Sequence[str] = (),
        what: str | ScapyPacket = "http://10.96.0.42",
        *,
        from_: str = "client",
        rounds: int = 100,
        sizes: Sequence[int] = (),
        limit: float = 120.0,
    ) -> ComparisonView:
        """Send the same packet, or let the same client connect, through every mode: a new lab each, ended after it.

        A mode that cannot run on this machine is left out, with why. `rounds` connections are timed in each, 0 for
        none; `sizes` are clusters of so many Services to be asked besides; `limit` is how many seconds one lab may
        take.

        Raises:
            UsageError: there is no such mode, or the packet cannot be read.
        """
        is_target = isinstance(what, str) and "://" in what
        spec = read_request(what) if isinstance(what, str) and is_target else read_packet(what)
        asked = what if isinstance(what, str) else getattr(spec, "expression", "")
        wanted = Wanted(spec, asked, from_, plans_for(modes, self._plan), rounds, tuple(sizes), limit)
        progress = BuildProgress("comparing")
        try:
            found = compare(wanted, progress.say)
        except KeyboardInterrupt:
            raise Interrupted("nothing was compared, and nothing is left of the labs that were built for it") from None
        progress.finish(f"compared: {', '.join(found.journeys) or 'nothing could run here'}")
        return found

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
            view = JourneyView(tell(recording), recording)
        said = self.prediction.saw(view.journey) if self.prediction else None
        if said:
            show(said)
        return view

    def _node(self, name: str | None) -> str:
        if name is None:
            return self.nodes[0]
        if name not in self.nodes:
            raise UnknownNameError(f"look at {name!r}", "there is no such node", f"Nodes: {', '.join(self.nodes)}")
        return name

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
