"""Forgets UDP flows that still go to endpoints which are gone.

Follows CleanStaleEntries of pkg/proxy/conntrack: an entry is deleted when its original destination is an
address of a Service (ClusterIP, external IP, load balancer's address) or a NodePort, and the address that
answers is not a serving endpoint of it. UDP only: a client that goes on sending would keep the entry, and so
the lost endpoint, for ever; TCP clients notice by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kplab.errors import ProgramError
from kplab.lab.run import Runner
from kplab.model.cluster import Cluster, Family
from kplab.modes.endpoints import join_slices
from kplab.modes.services import service_ports

_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")


@dataclass(frozen=True, slots=True)
class UdpFlow:
    """One conntrack entry: (address, port) of the four ends."""

    source: tuple[str, int]
    destination: tuple[str, int]
    answered_by: tuple[str, int]
    """The source of the reply tuple: the endpoint that DNAT chose."""


@dataclass(frozen=True, slots=True)
class Frontends:
    """Where UDP Services are reached, and the serving endpoints behind each."""

    addresses: dict[tuple[str, int], frozenset[tuple[str, int]]] = field(default_factory=dict)
    node_ports: dict[int, frozenset[tuple[str, int]]] = field(default_factory=dict)

    def stale(self, flow: UdpFlow) -> bool:
        """Tell whether a flow goes through a Service to an endpoint that is gone."""
        backends = self.addresses.get(flow.destination)
        if backends is None:
            backends = self.node_ports.get(flow.destination[1])
        return backends is not None and flow.answered_by not in backends


def udp_frontends(cluster: Cluster, family: Family, node: str) -> Frontends:
    """Return the frontends of every UDP service port in one family."""
    endpoints = join_slices(cluster.endpoint_slices, family, node)
    found = Frontends()
    for view in service_ports(cluster, family):
        if view.protocol != "udp":
            continue
        backends = frozenset((e.ip, e.port) for e in endpoints.get(view.key, ()) if e.serving)
        for address in (view.cluster_ip, *view.external_ips, *view.load_balancer_vips):
            found.addresses[address, view.port] = backends
        if view.node_port:
            found.node_ports[view.node_port] = backends
    return found


def parse_flows(text: str) -> list[UdpFlow]:
    """Read the output of `conntrack -L -p udp`; lines that do not hold both tuples are passed over."""
    flows = []
    for line in text.splitlines():
        values: dict[str, list[str]] = {}
        for word in line.split():
            key, equals, value = word.partition("=")
            if equals:
                values.setdefault(key, []).append(value)
        ends = [values.get(key, []) for key in ("src", "dst", "sport", "dport")]
        if all(len(end) == 2 for end in ends):
            sources, destinations, sports, dports = ends
            flows.append(
                UdpFlow(
                    (sources[0], int(sports[0])), (destinations[0], int(dports[0])), (sources[1], int(sports[1]))
                )
            )  # fmt: skip
    return flows


def deletions(flows: Iterable[UdpFlow]) -> str:
    """Return the input of `conntrack --load-file` that deletes flows."""
    return "".join(
        f"-D -p udp -s {f.source[0]} -d {f.destination[0]} --sport {f.source[1]} --dport {f.destination[1]}\n"
        for f in flows
    )


def forget_stale_flows(
    runner: Runner, cluster: Cluster, family: Family, node: str, *, count_file: Path = _COUNT
) -> int:
    """Delete the stale UDP flows of one family; return how many there were.

    Raises:
        ProgramError: conntrack is missing, or failed.

    """
    if _empty(count_file):
        return 0
    frontends = udp_frontends(cluster, family, node)
    if not (frontends.addresses or frontends.node_ports):
        return 0
    listed = runner.run(["conntrack", "-L", "-f", "ipv4" if family == 4 else "ipv6", "-p", "udp"]).stdout
    stale = [flow for flow in parse_flows(listed) if frontends.stale(flow)]
    if stale:
        ended = runner.run(["conntrack", "--load-file", "-"], deletions(stale))
        if "error" in ended.stderr.lower():
            raise ProgramError("forget stale UDP flows", ended.stderr.strip())
    return len(stale)


def flow_forgetter(runner: Runner, node: str) -> Callable[[Cluster, Family], int]:
    """Return `forget_stale_flows` for one node."""
    return lambda cluster, family: forget_stale_flows(runner, cluster, family, node)


def _empty(count_file: Path) -> bool:
    """No entry at all in this namespace: then there is no need to run a program."""
    try:
        return int(count_file.read_text()) == 0
    except (OSError, ValueError):
        return False
