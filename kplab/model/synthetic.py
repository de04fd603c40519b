"""Clusters of any size, always the same for the same numbers: what speed is measured with.

Two nodes; every Service is a ClusterIP one with a slice of its own, its pods on both nodes in turn.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from kplab.model.cluster import Cluster, Endpoint, EndpointPort, EndpointSlice, Node, Service, ServicePort

NAMESPACE = "load"
NODES = ("node-a", "node-b")
MOST_SERVICES = 60_000
"""As many as 10.96.0.0/16 has room for, with some to spare."""
MOST_PODS_OF_A_NODE = 32_000
"""As many as a node's half of 10.244.0.0/16 has room for, with some to spare."""

_SERVICE_BASE = int(IPv4Address("10.96.1.0"))
_POD_NETWORKS = (IPv4Network("10.244.0.0/17"), IPv4Network("10.244.128.0/17"))
_FIRST_POD = 256

_NODE_YAML = """\
apiVersion: v1
kind: Node
metadata:
  name: {name}
  labels:
    kubernetes.io/hostname: {name}
spec:
  podCIDRs:
    - {pod_cidr}
status:
  addresses:
    - type: InternalIP
      address: {ip}
"""
_SERVICE_YAML = """\
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {namespace}
spec:
  type: ClusterIP
  selector:
    app: {name}
  ports:
    - name: http
      protocol: TCP
      port: 80
      targetPort: 8080
  clusterIP: {ip}
  clusterIPs:
    - {ip}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-x1
  namespace: {namespace}
  labels:
    kubernetes.io/service-name: {name}
addressType: IPv4
ports:
  - name: http
    protocol: TCP
    port: 8080
endpoints:
"""
_ENDPOINT_YAML = """\
  - addresses:
      - {ip}
    nodeName: {node}
    conditions:
      ready: true
      serving: true
      terminating: false
"""


def large_cluster(services: int, endpoints: int) -> Cluster:
    """Return a cluster of `services` Services with `endpoints` endpoints each; raises ValueError when too many."""
    _check(services, endpoints)
    return Cluster(
        services=tuple(_service(i) for i in range(services)),
        endpoint_slices=tuple(_slice(i, endpoints) for i in range(services)),
        nodes=tuple(_node(i, name) for i, name in enumerate(NODES)),
        source=f"{services} Services with {endpoints} endpoints each",
    )


def large_manifest(services: int, endpoints: int) -> str:
    """Return the same cluster as YAML text: `parse_cluster` makes `large_cluster(services, endpoints)` of it."""
    _check(services, endpoints)
    nodes = [_node(i, name) for i, name in enumerate(NODES)]
    parts = [_NODE_YAML.format(name=n.name, pod_cidr=n.pod_cidrs[0], ip=n.internal_ips[0]) for n in nodes]
    for i in range(services):
        head = _SERVICE_YAML.format(name=_name(i), namespace=NAMESPACE, ip=_cluster_ip(i))
        pods = [_ENDPOINT_YAML.format(ip=ip, node=node) for ip, node in _pods(i, endpoints)]
        parts.append(head + "".join(pods))
    return "---\n".join(parts)


def _check(services: int, endpoints: int) -> None:
    if services > MOST_SERVICES:
        raise ValueError(f"{services} Services are more than {MOST_SERVICES}")
    if services * _pods_of_a_node(endpoints) > MOST_PODS_OF_A_NODE:
        raise ValueError(f"{services} x {endpoints} endpoints are more than {MOST_PODS_OF_A_NODE} on a node")


def _pods_of_a_node(endpoints: int) -> int:
    return -(-endpoints // len(NODES))


def _name(i: int) -> str:
    return f"svc-{i:05}"


def _cluster_ip(i: int) -> str:
    return str(IPv4Address(_SERVICE_BASE + i))


def _pods(i: int, endpoints: int) -> list[tuple[str, str]]:
    """Each node's pods lie in its own pod CIDR, so that one route leads to all of them."""
    first = _FIRST_POD + i * _pods_of_a_node(endpoints)
    places = [divmod(k, len(NODES)) for k in range(endpoints)]
    return [(str(_POD_NETWORKS[node][first + nth]), NODES[node]) for nth, node in places]


def _service(i: int) -> Service:
    name = _name(i)
    return Service(
        namespace=NAMESPACE,
        name=name,
        cluster_ips=(_cluster_ip(i),),
        ports=(ServicePort(port=80, name="http", target_port=8080),),
        selector=(("app", name),),
    )


def _slice(i: int, endpoints: int) -> EndpointSlice:
    name = _name(i)
    return EndpointSlice(
        namespace=NAMESPACE,
        name=f"{name}-x1",
        service_name=name,
        ports=(EndpointPort(port=8080, name="http"),),
        endpoints=tuple(
            Endpoint(addresses=(ip,), node_name=node, ready=True, serving=True, terminating=False)
            for ip, node in _pods(i, endpoints)
        ),
        labels=(("kubernetes.io/service-name", name),),
    )


def _node(i: int, name: str) -> Node:
    return Node(
        name=name,
        internal_ips=(f"192.168.50.{10 + i}",),
        pod_cidrs=(str(_POD_NETWORKS[i]),),
        labels=(("kubernetes.io/hostname", name),),
    )
