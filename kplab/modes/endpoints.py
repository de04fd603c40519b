"""Which endpoints a service port sends traffic to, on one node.

Follows pkg/proxy/endpointslicecache.go (joining slices) and pkg/proxy/topology.go (traffic policies,
topology hints, terminating endpoints) of Kubernetes v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from kplab.model.cluster import Endpoint, EndpointSlice, Family, Protocol
from kplab.modes.names import endpoint_text, family_of

ADDRESS_TYPES: dict[Family, str] = {4: "IPv4", 6: "IPv6"}
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"


class PortKey(NamedTuple):
    """What a service port and an endpoint port are joined by."""

    namespace: str
    service: str
    port_name: str
    protocol: Protocol


class ProxyEndpoint(NamedTuple):
    """One endpoint of a service port as one node sees it. A tuple, for there are tens of thousands of them."""

    text: str
    """"10.244.1.10:8080", "[fd00::1]:8080": what endpoints are sorted and hashed by."""
    ip: str
    port: int
    local: bool
    ready: bool
    serving: bool
    terminating: bool
    zones: tuple[str, ...]
    nodes: tuple[str, ...]


class Categorized(NamedTuple):
    """The sets that kube-proxy sorts a service port's endpoints into; each is sorted by `text`."""

    cluster: tuple[ProxyEndpoint, ...]
    """For traffic under policy Cluster; empty when no policy is Cluster."""
    local: tuple[ProxyEndpoint, ...]
    """For traffic under policy Local; empty when no policy is Local."""
    reachable: tuple[ProxyEndpoint, ...]
    """Every endpoint that some rule may choose."""
    has_any: bool
    """There is a usable endpoint somewhere in the cluster."""


Endpoints = dict[PortKey, tuple[ProxyEndpoint, ...]]


def join_slices(slices: Iterable[EndpointSlice], family: Family, node: str) -> Endpoints:
    """Return the endpoints of every service port in one family, sorted by address text.

    An endpoint that stands in several slices counts once, and a local copy wins. Ports without a name field
    or a number are skipped, and so are slices that kube-proxy does not watch (headless, other proxies').
    """
    found: dict[PortKey, dict[str, ProxyEndpoint]] = {}
    for piece in slices:
        if piece.service_name is None or piece.address_type != ADDRESS_TYPES[family] or not watched(piece.labels):
            continue
        for port in piece.ports:
            if port.name is None or not port.port:
                continue
            key = PortKey(piece.namespace, piece.service_name, port.name, port.protocol)
            _add(found.setdefault(key, {}), piece.endpoints, port.port, family, node)
    return {key: tuple(sorted(group.values())) for key, group in found.items()}


def watched(labels: tuple[tuple[str, str], ...]) -> bool:
    """Tell whether kube-proxy watches an object with these labels."""
    return not any(key in (PROXY_NAME_LABEL, HEADLESS_LABEL) for key, _ in labels)


def _add(group: dict[str, ProxyEndpoint], endpoints: Iterable[Endpoint], port: int, family: Family, node: str) -> None:
    for endpoint in endpoints:
        if not endpoint.addresses or family_of(endpoint.addresses[0]) != family:
            continue
        ip = endpoint.addresses[0]
        text = endpoint_text(ip, port)
        local = endpoint.node_name == node
        if text in group and not local:
            continue
        group[text] = ProxyEndpoint(
            text,
            ip,
            port,
            local,
            endpoint.ready is not False,
            endpoint.serving is not False,
            endpoint.terminating is True,
            endpoint.hint_zones,
            endpoint.hint_nodes,
        )


def categorize(
    endpoints: Sequence[ProxyEndpoint], *, uses_cluster: bool, uses_local: bool, node: str, zone: str | None
) -> Categorized:
    """Sort a service port's endpoints into the sets that its traffic policies use.

    Terminating endpoints that still serve are a last resort, when a set has no ready one; topology hints
    apply to the cluster set alone.
    """
    cluster: tuple[ProxyEndpoint, ...] = ()
    if uses_cluster:
        cluster = tuple(e for e in endpoints if e.ready)
        allowed = _topology(cluster, node, zone)
        cluster = tuple(e for e in cluster if allowed(e)) if allowed else cluster
        cluster = cluster or tuple(e for e in endpoints if e.serving and e.terminating)
    if not uses_local:
        return Categorized(cluster, (), cluster, bool(cluster))
    local = tuple(e for e in endpoints if e.local and e.ready)
    local = local or tuple(e for e in endpoints if e.local and e.serving and e.terminating)
    has_any = bool(cluster) or any(e.ready or (e.serving and e.terminating) for e in endpoints)
    reachable = tuple(sorted({*cluster, *local})) if uses_cluster else local
    return Categorized(cluster, local, reachable, has_any)


def _topology(ready: Sequence[ProxyEndpoint], node: str, zone: str | None) -> Callable[[ProxyEndpoint], bool] | None:
    """Return the filter that topology hints ask for, or None for no filter.

    Hints count only if every ready endpoint has them and one of them names this node, or its zone.
    """
    if all(e.nodes for e in ready) and any(node in e.nodes for e in ready):
        return lambda e: node in e.nodes
    if zone and all(e.zones for e in ready) and any(zone in e.zones for e in ready):
        return lambda e: zone in e.zones
    return None
