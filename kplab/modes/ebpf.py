"""eBPF mode: a cluster -> what the maps of one node's socket load balancer hold.

This is Cilium's way (kube-proxy replacement), not a mode of kube-proxy's; there is no rule in it. A frontend is slot 0
of (address, port, protocol); slots 1 to its count name a backend each. Only sockets of the node and its pods ask these
maps, so each frontend has the endpoints that a client inside the cluster gets: `externalTrafficPolicy` counts for
traffic from outside alone, which would take a program on the node's link (tc, XDP) that kplab does not have.
IPv4, TCP and UDP only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from kplab.model import bpf_maps as layout
from kplab.model.cluster import Cluster, Family
from kplab.model.config import ProxyConfig
from kplab.modes.endpoints import Categorized, categorize
from kplab.modes.facts import NodeFacts
from kplab.modes.names import family_of
from kplab.modes.services import ServicePortView
from kplab.modes.units import Unit, gather_units

PINNED = "/run/kplab/bpf"
"""Where the lab's bpffs is mounted; a folder a node."""
WILDCARD = "0.0.0.0"  # noqa: S104 - a key in a map: NodePorts stand under it

Entry = tuple[bytes, bytes]
T = TypeVar("T")
BackendName = tuple[str, int, str]
"""Address, port, protocol."""


@dataclass(frozen=True, slots=True)
class BpfMap:
    """One map's whole content, sorted by key."""

    name: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Frontend:
    """One address of a service port, and where it leads."""

    owner: str
    key: layout.ServiceKey
    flags: int
    affinity_seconds: int
    backends: tuple[BackendName, ...]


@dataclass(frozen=True, slots=True)
class EbpfProgram:
    """All maps of one node."""

    node: str
    maps: tuple[BpfMap, ...]
    frontends: tuple[Frontend, ...]
    backend_ids: dict[BackendName, int] = field(default_factory=dict)
    rev_nat_ids: dict[layout.ServiceKey, int] = field(default_factory=dict)
    """Ids given so far: a later state keeps those that it still needs."""

    def text(self) -> str:
        """Return each map as `bpftool map dump` prints it, sorted by key, and each element in words behind a #."""
        blocks = []
        if not self.maps:
            return "# IPv6: eBPF mode has no maps for it here\n"
        for each in self.maps:
            lines = [f"# bpftool map dump pinned {PINNED}/{self.node}/{each.name}"]
            lines += [layout.dump_line(each.name, key, value) for key, value in each.entries]
            count = len(each.entries)
            lines.append(f"Found {count} element{'' if count == 1 else 's'}")
            blocks.append("\n".join(lines) + "\n")
        return "\n".join(blocks)


def compile_ebpf(cluster: Cluster, node: str, previous: EbpfProgram | None = None) -> EbpfProgram:
    """Return what a node's maps shall hold; ids that `previous` gave are kept."""
    found = cluster.node(node)
    zone = found.label("topology.kubernetes.io/zone") if found else None
    own = tuple(ip for ip in (found.internal_ips if found else ()) if family_of(ip) == 4)
    units = gather_units(cluster, 4, node).sorted()
    frontends = tuple(sorted(_frontends(units, node, zone, own), key=lambda each: each.key.pack()))
    wanted = sorted({name for each in frontends for name in each.backends})
    backend_ids = _ids(wanted, previous.backend_ids if previous else {})
    rev_nat_ids = _ids([each.key for each in frontends], previous.rev_nat_ids if previous else {})
    nodes = {ip for each in cluster.nodes for ip in each.internal_ips if family_of(ip) == 4}
    maps = (
        BpfMap(layout.SERVICES, _sorted(_services(frontends, backend_ids, rev_nat_ids))),
        BpfMap(
            layout.BACKENDS,
            _sorted((layout.pack_backend_id(backend_ids[name]), layout.pack_backend(*name)) for name in wanted),
        ),
        BpfMap(
            layout.REVERSE_NAT,
            _sorted((n.to_bytes(2, "big"), layout.pack_reverse_nat(k.address, k.port)) for k, n in rev_nat_ids.items()),
        ),
        BpfMap(layout.AFFINITY_MATCH, _sorted(_matches(frontends, backend_ids, rev_nat_ids))),
        BpfMap(layout.NODE_IPS, _sorted((layout.pack_reverse_nat(ip, 0)[:4], b"\1") for ip in nodes)),
    )
    return EbpfProgram(node, maps, frontends, backend_ids, rev_nat_ids)


def compile_maps(cluster: Cluster, config: ProxyConfig, node: str, family: Family, facts: NodeFacts) -> EbpfProgram:
    """Return what `compile_ebpf` does, in the form that every mode has; IPv6 has no maps."""
    del config, facts  # kube-proxy's settings: none of them reaches a socket call
    return compile_ebpf(cluster, node) if family == 4 else EbpfProgram(node, (), ())


def _frontends(units: Iterable[Unit], node: str, zone: str | None, own: tuple[str, ...]) -> Iterator[Frontend]:
    for view, endpoints in units:
        if view.protocol.upper() not in layout.NUMBERS:
            continue
        sorted_out = categorize(
            endpoints, uses_cluster=view.uses_cluster_endpoints, uses_local=view.uses_local_endpoints, node=node,
            zone=zone,
        )  # fmt: skip
        yield from _of_port(view, sorted_out, own)


def _of_port(view: ServicePortView, found: Categorized, own: tuple[str, ...]) -> Iterator[Frontend]:
    def frontend(address: str, port: int, flags: int, *, local: bool) -> Frontend:
        protocol = view.protocol.upper()
        seconds = view.affinity_seconds or 0
        chosen = found.local if local else found.cluster
        backends = tuple((each.ip, each.port, protocol) for each in chosen)
        key = layout.ServiceKey(address, port, protocol)
        return Frontend(view.owner, key, flags | (layout.FLAG_AFFINITY if seconds else 0), seconds, backends)

    yield frontend(view.cluster_ip, view.port, 0, local=view.internal_local)
    for address in view.external_ips:
        yield frontend(address, view.port, layout.FLAG_EXTERNAL_IP | layout.FLAG_ROUTABLE, local=False)
    for address in view.load_balancer_vips:
        yield frontend(address, view.port, layout.FLAG_LOAD_BALANCER | layout.FLAG_ROUTABLE, local=False)
    if view.node_port:
        for address in (WILDCARD, *own):
            yield frontend(address, view.node_port, layout.FLAG_NODE_PORT | layout.FLAG_ROUTABLE, local=False)


def _services(
    frontends: Iterable[Frontend], backend_ids: dict[BackendName, int], rev_nat_ids: dict[layout.ServiceKey, int]
) -> Iterator[Entry]:
    for each in frontends:
        rev_nat = rev_nat_ids[each.key]
        first = layout.ALGORITHM_RANDOM << 24 | each.affinity_seconds & 0xFFFFFF
        yield each.key.pack(), layout.ServiceValue(first, len(each.backends), rev_nat, each.flags).pack()
        for slot, name in enumerate(each.backends, 1):
            key = layout.ServiceKey(each.key.address, each.key.port, each.key.protocol, slot)
            yield key.pack(), layout.ServiceValue(backend_ids[name], 0, rev_nat, each.flags).pack()


def _matches(
    frontends: Iterable[Frontend], backend_ids: dict[BackendName, int], rev_nat_ids: dict[layout.ServiceKey, int]
) -> Iterator[Entry]:
    for each in frontends:
        if each.affinity_seconds:
            for name in each.backends:
                yield layout.pack_affinity_match(backend_ids[name], rev_nat_ids[each.key]), b"\0"


def _ids(wanted: Iterable[T], before: dict[T, int]) -> dict[T, int]:
    """Give everything a number from 1 on; what had one keeps it."""
    names = list(wanted)
    kept = {name: before[name] for name in names if name in before}
    used = set(kept.values())
    fresh = (number for number in range(1, len(names) + len(used) + 1) if number not in used)
    return {name: kept[name] if name in kept else next(fresh) for name in names}


def _sorted(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries))
