"""The service ports of a cluster as one address family's proxier sees them.

Follows pkg/proxy/serviceport.go and pkg/proxy/util of Kubernetes v1.36: which Services are skipped, which
of their addresses count, and what their policies mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from kplab.model.cluster import Cluster, Family, Service, ServicePort
from kplab.modes.endpoints import PortKey, watched
from kplab.modes.names import family_of, service_port_name


@dataclass(frozen=True, slots=True)
class ServicePortView:
    """One port of one Service in one family: the unit that rules are written for."""

    owner: str
    """"ns/name:port": what comments say and what hashes are made of."""
    key: PortKey
    protocol: str
    """Lower case, as iptables spells it."""
    cluster_ip: str
    port: int
    node_port: int | None
    external_ips: tuple[str, ...]
    load_balancer_vips: tuple[str, ...]
    source_ranges: tuple[str, ...]
    internal_local: bool
    """internalTrafficPolicy is Local."""
    external_local: bool
    """externalTrafficPolicy is Local, on a Service that can be reached from outside."""
    affinity_seconds: int | None
    """None without ClientIP affinity."""
    health_check_node_port: int | None

    @property
    def externally_accessible(self) -> bool:
        """It has a NodePort, a load balancer's address or an external IP."""
        return bool(self.node_port or self.load_balancer_vips or self.external_ips)

    @property
    def uses_cluster_endpoints(self) -> bool:
        """Some traffic may go to any endpoint of the cluster."""
        return not self.internal_local or self.externally_accessible

    @property
    def uses_local_endpoints(self) -> bool:
        """Some traffic may go to this node's endpoints only."""
        return self.internal_local or (self.external_local and self.externally_accessible)


def service_ports(cluster: Cluster, family: Family) -> list[ServicePortView]:
    """Return every service port that kube-proxy handles in one family, sorted by name.

    kube-proxy itself walks a Go map: its order differs from sync to sync.
    """
    views = [
        view_port(service, port, address, family)
        for service in cluster.services
        if (address := cluster_ip(service, family)) is not None
        for port in service.ports
    ]
    views.sort(key=lambda view: (view.owner, view.protocol))
    return views


def cluster_ip(service: Service, family: Family) -> str | None:
    """Return a Service's clusterIP in one family, or None where kube-proxy writes nothing for it there.

    Skipped: headless Services, ExternalName, and those that a label leaves to another proxy.
    """
    if service.type == "ExternalName" or "None" in service.cluster_ips or not watched(service.labels):
        return None
    return next((ip for ip in service.cluster_ips if family_of(ip) == family), None)


def view_port(service: Service, port: ServicePort, address: str, family: Family) -> ServicePortView:
    """Return one port of a Service as one family's proxier sees it; `address` is its clusterIP there."""
    reachable = service.type in ("NodePort", "LoadBalancer") or bool(service.external_ips)
    external_local = service.external_traffic_policy == "Local" and reachable
    healthy = service.type == "LoadBalancer" and external_local
    return ServicePortView(
        owner=service_port_name(service.namespace, service.name, port.name),
        key=PortKey(service.namespace, service.name, port.name, port.protocol),
        protocol=port.protocol.lower(),
        cluster_ip=address,
        port=port.port,
        node_port=port.node_port or None,
        external_ips=_of(service.external_ips, family),
        load_balancer_vips=tuple(
            i.ip for i in service.load_balancer_ingress if i.ip and i.ip_mode != "Proxy" and family_of(i.ip) == family
        ),
        source_ranges=_of(service.load_balancer_source_ranges, family),
        internal_local=service.internal_traffic_policy == "Local",
        external_local=external_local,
        affinity_seconds=service.session_affinity_timeout_seconds if service.session_affinity == "ClientIP" else None,
        health_check_node_port=(service.health_check_node_port or None) if healthy else None,
    )


def _of(addresses: tuple[str, ...], family: Family) -> tuple[str, ...]:
    return tuple(a for a in addresses if family_of(a) == family) if addresses else ()
