"""What differs between two states of a cluster, counted as kube-proxy counts: by Service and by family.

kube-proxy marks a whole Service (`ns/name`, all its ports) as changed when what one family's proxier keeps
of it differs, or one of its EndpointSlices does (pkg/proxy/servicechangetracker.go, endpointschangetracker.go).
A partial sync writes the chains of those Services only; no change means no sync.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from kplab.model.cluster import Cluster, EndpointPort, EndpointSlice, Family, Service, ServicePort
from kplab.modes.endpoints import ADDRESS_TYPES, watched
from kplab.modes.services import ServicePortView, cluster_ip, view_port


def changed_services(before: Cluster, after: Cluster, family: Family) -> frozenset[str]:
    """Return the Services (`ns/name`) that changed for one family, those that came or went included."""
    names: set[str] = set()
    if before.services != after.services:
        names |= _differing(_views(before.services, family), _views(after.services, family))
    if before.endpoint_slices != after.endpoint_slices:
        names |= _differing(_by_service(before.endpoint_slices, family), _by_service(after.endpoint_slices, family))
    return frozenset(names)


def udp_changed(before: Cluster, after: Cluster, changed: Collection[str]) -> bool:
    """Tell whether one of the changed Services has, or had, a UDP port: kube-proxy then looks for stale flows."""
    return any(
        port.protocol == "UDP"
        for cluster in (before, after)
        for name, ports in _ports(cluster)
        if name in changed
        for port in ports
    )


def _views(services: Iterable[Service], family: Family) -> dict[str, tuple[ServicePortView, ...]]:
    found = {}
    for service in services:
        address = cluster_ip(service, family)
        if address is not None:
            views = tuple(view_port(service, port, address, family) for port in service.ports)
            found[f"{service.namespace}/{service.name}"] = views
    return found


def _by_service(slices: Iterable[EndpointSlice], family: Family) -> dict[str, dict[str, EndpointSlice]]:
    found: dict[str, dict[str, EndpointSlice]] = {}
    for piece in slices:
        if piece.service_name is not None and piece.address_type == ADDRESS_TYPES[family] and watched(piece.labels):
            found.setdefault(f"{piece.namespace}/{piece.service_name}", {})[piece.name] = piece
    return found


def _ports(cluster: Cluster) -> Iterator[tuple[str, Iterable[ServicePort | EndpointPort]]]:
    for service in cluster.services:
        yield f"{service.namespace}/{service.name}", service.ports
    for piece in cluster.endpoint_slices:
        yield f"{piece.namespace}/{piece.service_name}", piece.ports


def _differing(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
