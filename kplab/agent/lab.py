"""The lab as the agent holds it once it stands: what every request works on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from kplab.agent.ipvs_choices import IpvsChoices
from kplab.agent.node_state import NodeReader
from kplab.agent.proxies import Proxy
from kplab.agent.sockets import Sockets
from kplab.agent.tracing import TracingRules
from kplab.capture.watch import Watch
from kplab.errors import UnknownNameError
from kplab.lab.craft import Crafter
from kplab.lab.netns import NetworkNamespaces
from kplab.lab.nursery import Nursery
from kplab.lab.run import Runner
from kplab.lab.send import PacketSender
from kplab.model.topology import Namespace, Topology
from kplab.protocol.messages import ProcessState
from kplab.trace.recording import Facts


@dataclass(slots=True)
class Helpers:
    """Processes forked while the agent is small, and what runs programs."""

    nursery: Nursery
    crafter: Crafter
    runner: Runner


@dataclass(slots=True)
class Server:
    """A pod's server: one process."""

    name: str
    pid: int
    alive: bool = True


@dataclass(slots=True)
class Lab:
    """Everything of a lab that stands."""

    topology: Topology
    facts: Facts
    manifest: str
    namespaces: NetworkNamespaces
    helpers: Helpers
    watch: Watch
    sender: PacketSender
    reader: NodeReader
    tracing: TracingRules
    proxies: list[Proxy] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)
    sockets: Sockets = field(default_factory=Sockets)
    choices: IpvsChoices = field(default_factory=IpvsChoices)
    recordings: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def namespace(self, name: str) -> Namespace:
        """Return a namespace that things can be sent from or run in.

        Raises:
            UnknownNameError: there is none of that name.
        """
        found = self.topology.namespace(name)
        if found is None:
            names = ", ".join(ns.name for ns in self.topology.namespaces)
            raise UnknownNameError(f"there is no {name!r} in this lab", hint=f"it has: {names}")
        return found

    def nodes(self) -> list[Namespace]:
        """Return the nodes' namespaces."""
        return [ns for ns in self.topology.namespaces if ns.role == "node"]

    def processes(self) -> tuple[ProcessState, ...]:
        """Return the lab's own processes, those that have died included."""
        helpers = self.helpers
        return (
            ProcessState("pods' nursery", helpers.nursery.pid, helpers.nursery.alive),
            ProcessState("scapy", helpers.crafter.pid, helpers.crafter.alive),
            *(ProcessState(f"kube-proxy {proxy.node}", proxy.pid, proxy.alive) for proxy in self.proxies),
            *(ProcessState(f"server {server.name}", server.pid, server.alive) for server in self.servers),
        )

    def ended(self, pid: int) -> None:
        """Take note that a process has ended. Nothing is started anew: what is gone is shown."""
        for proxy in self.proxies:
            proxy.alive = proxy.alive and proxy.pid != pid
        for server in self.servers:
            server.alive = server.alive and server.pid != pid
