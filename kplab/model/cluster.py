"""What an API server holds that matters to kube-proxy, as values.

Field names are those of the Kubernetes API (`v1.Service`, `discovery.k8s.io/v1.EndpointSlice`,
`v1.Node`, `v1.Pod`) in Python's spelling. Addresses are canonical text ("10.96.0.42", "fd00::1"): the
loader has checked them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Protocol = Literal["TCP", "UDP", "SCTP"]
Family = Literal[4, 6]


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One entry of `spec.ports`."""

    port: int
    protocol: Protocol = "TCP"
    name: str = ""
    target_port: int | str | None = None
    node_port: int | None = None
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True)
class LoadBalancerIngress:
    """One entry of `status.loadBalancer.ingress`."""

    ip: str | None = None
    hostname: str | None = None
    ip_mode: Literal["VIP", "Proxy"] | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A `v1.Service`."""

    namespace: str
    name: str
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    cluster_ips: tuple[str, ...] = ()
    """Empty for ExternalName; ("None",) for a headless Service."""
    ports: tuple[ServicePort, ...] = ()
    external_ips: tuple[str, ...] = ()
    load_balancer_ingress: tuple[LoadBalancerIngress, ...] = ()
    load_balancer_source_ranges: tuple[str, ...] = ()
    external_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    internal_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_timeout_seconds: int = 10800
    health_check_node_port: int | None = None
    external_name: str | None = None
    selector: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class EndpointPort:
    """One entry of a slice's `ports`. A name of None (not "") means that kube-proxy skips it."""

    port: int | None
    protocol: Protocol = "TCP"
    name: str | None = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One entry of a slice's `endpoints`. A condition of None means that the field was not given."""

    addresses: tuple[str, ...]
    node_name: str | None = None
    zone: str | None = None
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None
    hint_zones: tuple[str, ...] = ()
    hint_nodes: tuple[str, ...] = ()
    target_pod: str | None = None
    """`namespace/name` of `targetRef`, when that is a Pod."""


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """A `discovery.k8s.io/v1.EndpointSlice`."""

    namespace: str
    name: str
    service_name: str | None
    """From the label `kubernetes.io/service-name`."""
    address_type: Literal["IPv4", "IPv6", "FQDN"] = "IPv4"
    ports: tuple[EndpointPort, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A `v1.Node`."""

    name: str
    internal_ips: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def label(self, key: str) -> str | None:
        """Return the value of a label, or None."""
        return dict(self.labels).get(key)


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """One entry of a container's `ports`."""

    port: int
    protocol: Protocol = "TCP"
    name: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """A `v1.Pod`: what the lab needs to make a namespace that answers on its ports."""

    namespace: str
    name: str
    node_name: str | None = None
    ips: tuple[str, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    host_network: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """The whole state that an API server holds."""

    services: tuple[Service, ...] = ()
    endpoint_slices: tuple[EndpointSlice, ...] = ()
    nodes: tuple[Node, ...] = ()
    pods: tuple[Pod, ...] = ()
    source: str = field(default="", compare=False)
    """Where it was read from, for messages."""

    def node(self, name: str) -> Node | None:
        """Return the node of that name, or None."""
        return next((node for node in self.nodes if node.name == name), None)
