"""What differs between two states of a cluster, counted as kube-proxy counts: by Service and by family.

kube-proxy marks a whole Service (`ns/name`, all its ports) as changed when what one family's proxier keeps
of it differs, or one of its EndpointSlices does (pkg/proxy/servicechangetracker.go, endpointschangetracker.go).
A partial sync writes the chains of those Services only; no change means no sync.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from kplab.model.cluster import Cluster, EndpointPort, EndpointSlice, Family, Service, ServicePort
from kplab.modes.services import ServicePortView, cluster_ip, view_port
from kplab.modes.units import ServiceName, slices_by_service


def changed_services(before: Cluster, after: Cluster, family: Family) -> frozenset[str]:
    """Return the Services (`ns/name`) that changed for one family, those that came or went included."""
    names: set[ServiceName] = set()
    if before.services != after.services:
        names |= _differing(_views(before.services, family), _views(after.services, family))
    if before.endpoint_slices != after.endpoint_slices:
        names |= _differing(_by_name(before.endpoint_slices, family), _by_name(after.endpoint_slices, family))
    return frozenset(f"{namespace}/{name}" for namespace, name in names)


def udp_changed(before: Cluster, after: Cluster, changed: Collection[str]) -> bool:
    """Tell whether one of the changed Services has, or had, a UDP port: kube-proxy then looks for stale flows."""
    return any(
        port.protocol == "UDP"
        for cluster in (before, after)
        for name, ports in _ports(cluster)
        if name in changed
        for port in ports
    )


def _views(services: Iterable[Service], family: Family) -> dict[ServiceName, tuple[ServicePortView, ...]]:
    found = {}
    for service in services:
        address = cluster_ip(service, family)
        if address is not None:
            views = tuple(view_port(service, port, address, family) for port in service.ports)
            found[service.namespace, service.name] = views
    return found


def _by_name(slices: Iterable[EndpointSlice], family: Family) -> dict[ServiceName, dict[str, EndpointSlice]]:
    return {name: {piece.name: piece for piece in group} for name, group in slices_by_service(slices, family).items()}


def _ports(cluster: Cluster) -> Iterator[tuple[str, Iterable[ServicePort | EndpointPort]]]:
    for service in cluster.services:
        yield f"{service.namespace}/{service.name}", service.ports
    for piece in cluster.endpoint_slices:
        yield f"{piece.namespace}/{piece.service_name}", piece.ports


def _differing(before: Mapping[ServiceName, object], after: Mapping[ServiceName, object]) -> set[ServiceName]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
