"""kplab-proxy in userspace mode: one asyncio loop that listens, relays, and writes rules when the manifest changes.

Stop this process, and no Service works any more: in this mode alone, kube-proxy is in the packets' way.
"""

from __future__ import annotations

import asyncio
import resource
import time

from kplab.errors import KplabError, LabError, ManifestError
from kplab.model.cluster import Cluster
from kplab.model.loader import parse_cluster
from kplab.modes.facts import NodeFacts
from kplab.modes.nodeports import node_ip
from kplab.modes.userspace import ProxiedPort, proxied_ports, redirecting
from kplab.proxy.options import Options
from kplab.proxy.report import Reporter
from kplab.proxy.tools import Tools
from kplab.proxy.userspace_balance import RoundRobin
from kplab.proxy.userspace_relay import TcpPort, Tell, UdpPort
from kplab.proxy.userspace_rules import write_rules
from kplab.proxy.watch import ManifestWatch

EXIT_FAILED = 1


def run_userspace(options: Options, tools: Tools, stop_fd: int) -> int:
    """Proxy until `stop_fd` becomes readable; return the exit status. The rules stay, and lead nowhere then.

    Raises:
        ManifestError: the manifest cannot be used.
    """
    # A socket for each service port, and two for each connection: the old kube-proxy raised its limit, too.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return asyncio.run(_Userspace(options, tools).run(stop_fd))


class _Listening:
    """One service port with its socket and its turn."""

    def __init__(self, port: ProxiedPort, tell: Tell) -> None:
        self.balance = RoundRobin()
        kind = TcpPort if port.protocol == "tcp" else UdpPort
        self.socket: TcpPort | UdpPort = kind(port.proxy_port, self.balance, tell)
        self.proxy_port = port.proxy_port


class _Userspace:
    """The process."""

    def __init__(self, options: Options, tools: Tools) -> None:
        if options.manifest is None:
            raise ManifestError("no manifest was named", hint="give --manifest FILE")
        self._options = options
        self._file = options.manifest
        self._tools = tools
        self._reporter = Reporter(options.report_fd, options.verbosity)
        self._watch = ManifestWatch(options.manifest)
        self._listening: dict[tuple[str, str], _Listening] = {}

    async def run(self, stop_fd: int) -> int:
        """Sync, then sync at each change."""
        read = self._watch.read()
        done = await self._sync(parse_cluster(read.text, str(self._file)), read.mtime_ns)
        if self._options.once or not done:
            return 0 if done else EXIT_FAILED
        loop = asyncio.get_running_loop()
        stopped, woken = asyncio.Event(), asyncio.Event()
        loop.add_reader(stop_fd, stopped.set)
        if self._watch.fileno() >= 0:
            loop.add_reader(self._watch.fileno(), self._noticed, woken)
        stopping = asyncio.ensure_future(stopped.wait())
        while not stopped.is_set():
            waking = asyncio.ensure_future(woken.wait())
            rest = max(0.0, self._watch.next_poll - time.monotonic()) + 0.001
            await asyncio.wait({stopping, waking}, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            waking.cancel()
            woken.clear()
            if self._watch.changed(time.monotonic()):
                await self._reread()
        return 0

    def _noticed(self, woken: asyncio.Event) -> None:
        self._watch.events()
        woken.set()

    async def _reread(self) -> None:
        mtime_ns = 0
        try:
            read = self._watch.read()
            mtime_ns = read.mtime_ns
            cluster = parse_cluster(read.text, str(self._file))
        except ManifestError as error:
            self._reporter.refused(error, mtime_ns)
            return
        await self._sync(cluster, mtime_ns)

    async def _sync(self, cluster: Cluster, mtime_ns: int) -> bool:
        """Listen first, then send traffic there; ports of Services that are gone are closed last."""
        began = time.monotonic()
        try:
            ports = await self._listen(cluster)
            facts = NodeFacts()
            host = node_ip(cluster, self._options.config, self._options.node, 4, facts)
            await asyncio.to_thread(write_rules, self._tools, redirecting(ports, host))
        except KplabError as error:
            self._reporter.wrote_rules(time.monotonic() - began, mtime_ns, error)
            return False
        for name in self._listening.keys() - {port.name for port in ports}:
            self._listening.pop(name).socket.close()
        self._reporter.wrote_rules(time.monotonic() - began, mtime_ns, None)
        return True

    async def _listen(self, cluster: Cluster) -> tuple[ProxiedPort, ...]:
        """Open a socket for each new service port.

        Raises:
            LabError: a port cannot be had.
        """
        taken = {name: each.proxy_port for name, each in self._listening.items()}
        ports = proxied_ports(cluster, self._options.node, taken)
        for port in ports:
            if port.name not in self._listening:
                try:
                    fresh = _Listening(port, self._teller(port.owner))
                except OSError as error:
                    raise LabError(f"listen on port {port.proxy_port} for {port.owner}", str(error)) from error
                await fresh.socket.start()
                self._listening[port.name] = fresh
            self._listening[port.name].balance.update(port.endpoints, port.affinity_seconds)
        return ports

    def _teller(self, owner: str) -> Tell:
        def tell(protocol: str, accepted_from: str, accepted_on: str, dialled_from: str, dialled_to: str) -> None:
            self._reporter.proxied(
                {
                    "protocol": protocol,
                    "service": owner,
                    "accepted_from": accepted_from,
                    "accepted_on": accepted_on,
                    "dialled_from": dialled_from,
                    "dialled_to": dialled_to,
                },
                time.time_ns(),
            )

        return tell
