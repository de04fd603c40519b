"""The service ports of a cluster with their endpoints, for one family on one node; kept from one state to the next.

A Service and its EndpointSlices that did not change keep what was worked out from them, so that one endpoint's
change in a cluster of thousands of Services costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kplab.model.cluster import Cluster, EndpointSlice, Family, Service
from kplab.modes.endpoints import ADDRESS_TYPES, ProxyEndpoint, join_slices, watched
from kplab.modes.services import ServicePortView, cluster_ip, view_port

Unit = tuple[ServicePortView, tuple[ProxyEndpoint, ...]]
"""A service port and its endpoints: what its rules are made of."""

ServiceName = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class ServiceUnits:
    """One Service's ports, and the objects that they were worked out from."""

    service: Service
    slices: tuple[EndpointSlice, ...]
    ports: tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class Units:
    """All service ports of one family as one node sees them."""

    family: Family
    node: str
    services: dict[ServiceName, ServiceUnits]

    def sorted(self) -> list[Unit]:
        """Return the units by name. kube-proxy itself walks a Go map: its order differs from sync to sync."""
        units = [unit for entry in self.services.values() for unit in entry.ports]
        units.sort(key=lambda unit: (unit[0].owner, unit[0].protocol))
        return units

    def endpoints(self) -> int:
        """Return how many endpoints there are, usable or not: what kube-proxy calls a large cluster by."""
        return sum(len(endpoints) for entry in self.services.values() for _, endpoints in entry.ports)


def gather_units(cluster: Cluster, family: Family, node: str, previous: Units | None = None) -> Units:
    """Return the service ports that kube-proxy handles in one family; `previous` saves work and changes nothing."""
    usable = previous is not None and previous.family == family and previous.node == node
    known = previous.services if previous is not None and usable else {}
    slices = slices_by_service(cluster.endpoint_slices, family)
    services: dict[ServiceName, ServiceUnits] = {}
    for service in cluster.services:
        address = cluster_ip(service, family)
        if address is None:
            continue
        name = (service.namespace, service.name)
        mine = tuple(slices.get(name, ()))
        old = known.get(name)
        if old is not None and old.service == service and old.slices == mine:
            services[name] = old
            continue
        joined = join_slices(mine, family, node)
        views = [view_port(service, port, address, family) for port in service.ports]
        services[name] = ServiceUnits(service, mine, tuple((view, joined.get(view.key, ())) for view in views))
    return Units(family, node, services)


def slices_by_service(slices: Iterable[EndpointSlice], family: Family) -> dict[ServiceName, list[EndpointSlice]]:
    """Return the slices that kube-proxy watches in one family, by the Service that they belong to."""
    kind = ADDRESS_TYPES[family]
    found: dict[ServiceName, list[EndpointSlice]] = {}
    for piece in slices:
        if piece.service_name is not None and piece.address_type == kind and watched(piece.labels):
            found.setdefault((piece.namespace, piece.service_name), []).append(piece)
    return found
