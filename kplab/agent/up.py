"""Builds the lab, step by step, and says how far it is."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from kplab import __version__
from kplab.agent.ipvs_choices import watch_choices
from kplab.agent.lab import Helpers, Lab, Server
from kplab.agent.node_state import NodeReader
from kplab.agent.planning import plan_manifest
from kplab.agent.proxies import CONFIG, default_config, start_proxy, wait_synced, write_manifest
from kplab.agent.sockets import attach_sockets
from kplab.agent.tracing import TracingRules
from kplab.agent.wait import gone, readable
from kplab.capture.watch import Place, Watch
from kplab.errors import LabError, UsageError
from kplab.lab.build import make_links, make_namespaces
from kplab.lab.frontends import link_frontends
from kplab.lab.netns import NetworkNamespaces, mount_run
from kplab.lab.run import Runner
from kplab.lab.send import PacketSender
from kplab.model.topology import Namespace, Topology
from kplab.protocol.messages import Up
from kplab.trace.recording import Facts

SERVERS_LIMIT = 10.0
MODES = ("iptables", "ipvs", "nftables", "userspace", "ebpf")
ADDRESSED = ("nftables", "ipvs")
"""Modes that write the node's own addresses into what they make, for NodePorts: these must exist before kube-proxy."""

Tell = Callable[[str, bool, float], None]
"""Called with a step's name, whether it is done, and the seconds since the start."""


@dataclass(slots=True)
class _Steps:
    """Tells each step's beginning and end."""

    tell: Tell
    clock: Callable[[], float]
    began: float

    def elapsed(self) -> float:
        return self.clock() - self.began

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.tell(name, False, self.elapsed())
        yield
        self.tell(name, True, self.elapsed())


def build_lab(request: Up, helpers: Helpers, sandbox: str, hangup: int, tell: Tell) -> tuple[Lab, float]:
    """Build the lab that was asked for; return it with the seconds that it took.

    `hangup` is the requester's socket: when it closes, building stops.

    Raises:
        UsageError: the mode or the manifest cannot be used. LabError: something could not be built.
        CaptureError: the kernel cannot be watched.
    """
    _require_mode(request.mode)
    steps = _Steps(tell, time.monotonic, time.monotonic())
    with steps.step("cluster"):
        planned = plan_manifest(request.manifest, with_servers=request.with_servers)
        topology = planned.topology
        mount_run()
        link_frontends(request.backend)
        namespaces = NetworkNamespaces()
        mtime = write_manifest(request.manifest)
        CONFIG.write_text(request.config or default_config(planned.cluster_cidrs, request.mode))
    with steps.step("namespaces"):
        make_namespaces(topology, namespaces)
        tracing = TracingRules(namespaces, helpers.runner, request.backend)
        tracing.load(topology.namespaces)
        sockets = attach_sockets(request.mode, topology, namespaces, helpers.runner)
    with steps.step("links, addresses, routes"):
        early = _may_start_early(request)
        nodes = [ns.name for ns in topology.namespaces if ns.role == "node"]
        proxies = [start_proxy(node, request.backend, request.mode) for node in nodes] if early else []
        listening = _start_servers(topology, helpers)
        make_links(topology, namespaces)
        if request.with_proxy and not early:
            proxies = [start_proxy(node, request.backend, request.mode) for node in nodes]
    with steps.step("watching the kernel"):
        watch = Watch(_places(topology, namespaces), request.backend, time.time_ns)
        watch.open()
        facts = _facts(request, sandbox, helpers.runner)
    with steps.step("pods' servers"):
        servers = _wait_servers(listening, helpers, hangup)
    if proxies:
        with steps.step("kube-proxy's rules"):
            wait_synced(proxies, mtime, hangup)
    rng = random.Random(os.urandom(16))  # noqa: S311 - sequence numbers of a lab, not secrets
    lab = Lab(
        topology, facts, request.manifest, namespaces, helpers, watch,
        PacketSender(namespaces, helpers.crafter, helpers.runner, rng),
        NodeReader(namespaces, helpers.runner, request.backend), tracing, proxies, servers, sockets,
        watch_choices(request.mode, sandbox, helpers.runner),
    )  # fmt: skip
    return lab, steps.elapsed()


def _may_start_early(request: Up) -> bool:
    """Tell whether kube-proxy may start before the node has addresses: it needs a while until it looks at anything."""
    return request.with_proxy and request.mode not in ADDRESSED and "nodePortAddresses" not in request.config


def _require_mode(mode: str) -> None:
    if mode not in MODES:
        raise UsageError(f"there is no mode {mode!r}", hint=f"the lab's modes: {', '.join(MODES)}")


def _places(topology: Topology, namespaces: NetworkNamespaces) -> list[Place]:
    """Everywhere but the switch, whose ports would only show each frame once more."""
    return [
        Place(ns.name, ns.role, _enterer(namespaces, ns), tuple(i.name for i in ns.interfaces))
        for ns in topology.namespaces
        if ns.role != "underlay"
    ]


def _enterer(namespaces: NetworkNamespaces, ns: Namespace) -> Callable[[], AbstractContextManager[None]]:
    return lambda: namespaces.entered(ns.name)


def _start_servers(topology: Topology, helpers: Helpers) -> set[str]:
    started = set()
    for ns in topology.namespaces:
        if ns.listeners:
            node = ns.node or ns.name
            helpers.nursery.start(ns.name, node, [(each.protocol, each.port, each.kind) for each in ns.listeners])
            started.add(ns.name)
    return started


def _wait_servers(names: set[str], helpers: Helpers, hangup: int) -> list[Server]:
    """Wait until every server listens.

    Raises:
        LabError: one could not, or they took too long.
    """
    waiting = set(names)
    servers = []
    deadline = time.monotonic() + SERVERS_LIMIT
    while waiting:
        rest = deadline - time.monotonic()
        ready = readable([helpers.nursery.reports, hangup], rest)
        if not ready:
            raise LabError("start the pods' servers", f"not all listened within {SERVERS_LIMIT:g} s: {sorted(waiting)}")
        if hangup in ready and gone(hangup):
            raise LabError("start the pods' servers", "whoever asked for it has gone")
        for report in helpers.nursery.read():
            if report["event"] == "failed":
                raise LabError(f"start the server of {report['name']}", report["why"])
            if report["event"] == "ready":
                waiting.discard(report["name"])
                servers.append(Server(report["name"], report["pid"]))
    return sorted(servers, key=lambda server: server.name)


_RULES_OF = {"ebpf": "kplab, laid out as Cilium's", "userspace": "kube-proxy before 1.26, from memory"}
"""Whose rules or maps these are, where they are not those of kube-proxy v1.36."""


def _facts(request: Up, sandbox: str, runner: Runner) -> Facts:
    return Facts(
        kplab=__version__,
        kernel=os.uname().release,
        mode=request.mode,
        backend=request.backend,
        sandbox=sandbox,
        iptables=_version(runner, f"iptables-{request.backend}"),
        nft=_version(runner, "nft"),
        rules_of=_RULES_OF.get(request.mode, "kube-proxy v1.36") if request.with_proxy else "made by hand",
    )


def _version(runner: Runner, program: str) -> str:
    found = re.search(r"v(\d[\d.]*)", runner.run([program, "--version"]).stdout)
    return found.group(1) if found else ""
