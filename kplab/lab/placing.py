"""Who lives where: a cluster's nodes, with the pods and the endpoint addresses that each answers for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network

from kplab.errors import ManifestError
from kplab.lab.listeners import distinct, pod_listeners, slice_listeners
from kplab.model.cluster import Cluster, Endpoint, Node, Pod
from kplab.model.topology import Listener

Network = IPv4Network | IPv6Network

UNDERLAY_NETWORKS = (ip_network("192.168.50.0/24"), ip_network("fd00:192:168:50::/64"))
ROUTER_ADDRESSES = ("192.168.50.1", "fd00:192:168:50::1")
CONTROL_PLANE_ADDRESSES = ("192.168.50.2", "fd00:192:168:50::2")
CLIENT = "client"
RESERVED = ("outside", "underlay", "control-plane")
"""Names of the lab's own namespaces."""

DEFAULT_NODES = (
    Node(
        "node-a",
        ("192.168.50.10", "fd00:192:168:50::10"),
        ("10.244.1.0/24", "fd00:10:244:1::/64"),
        (("topology.kubernetes.io/zone", "zone-1"),),
    ),
    Node(
        "node-b",
        ("192.168.50.11", "fd00:192:168:50::11"),
        ("10.244.2.0/24", "fd00:10:244:2::/64"),
        (("topology.kubernetes.io/zone", "zone-2"),),
    ),
)
"""The lab's nodes when a manifest names none."""


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """A node, and everything that it answers for."""

    name: str
    ips: tuple[str, ...]
    pod_cidrs: tuple[Network, ...]
    pods: tuple[Pod, ...] = ()
    prefixes: tuple[Network, ...] = ()
    """Where endpoint addresses without a Pod are: what is for these goes by the node to one namespace."""
    answered: tuple[Network, ...] = ()
    """What that namespace takes for its own: those addresses, and nothing that is a pod's or the gateway's."""
    shared_listeners: tuple[Listener, ...] = ()
    own_listeners: tuple[Listener, ...] = ()
    """Of host-network pods, and of endpoints that are the node's own addresses."""

    def gateway(self, version: int) -> str | None:
        """Return the first address of the pod range: the node holds it on every pod's link."""
        return next((str(net[1]) for net in self.pod_cidrs if net.version == version), None)

    def ip(self, version: int) -> str | None:
        """Return the node's address in an IP family, or None."""
        return next((ip for ip in self.ips if ip_address(ip).version == version), None)


def place(cluster: Cluster) -> list[PlacedNode]:
    """Return the cluster's nodes with all that they hold; a pod `client` is added where there is none.

    Raises:
        ManifestError: a Pod is on a node that does not exist, a Node has a name of the lab's own, or an
            address is claimed twice.
    """
    bare = bare_nodes(cluster)
    _check_names(cluster, bare)
    with_pods = [_with_pods(node, cluster, first=node is bare[0]) for node in bare]
    placed = [_with_strays(node, cluster, with_pods) for node in with_pods]
    _check_addresses(placed)
    return placed


def bare_nodes(cluster: Cluster) -> list[PlacedNode]:
    """Return the nodes with their addresses and pod ranges only; what a Node lacks is made up from its place."""
    plans = []
    for number, node in enumerate(cluster.nodes or DEFAULT_NODES, start=1):
        cidrs = node.pod_cidrs or (f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64")
        ips = node.internal_ips or (f"192.168.50.{9 + number}", f"fd00:192:168:50::{9 + number}")
        plans.append(PlacedNode(node.name, ips, tuple(ip_network(cidr, strict=False) for cidr in cidrs)))
    return plans


def endpoints(cluster: Cluster) -> Iterator[tuple[tuple[Listener, ...], Endpoint]]:
    """Yield every endpoint that has IP addresses, with the servers that it needs."""
    for slice_ in cluster.endpoint_slices:
        if slice_.address_type != "FQDN":
            listeners = slice_listeners(slice_)
            for endpoint in slice_.endpoints:
                yield listeners, endpoint


def _check_names(cluster: Cluster, nodes: list[PlacedNode]) -> None:
    known = [node.name for node in nodes]
    for name in known:
        if name in RESERVED:
            raise ManifestError(
                f"the lab cannot have a Node named {name!r}",
                "that is one of its own namespaces",
                "give the Node another name",
                file=cluster.source,
                field="metadata.name",
            )
    for pod in cluster.pods:
        if pod.node_name not in known:
            raise ManifestError(
                f"Pod {pod.namespace}/{pod.name}",
                f"its node {pod.node_name!r} is not in the manifest",
                f"expected one of: {', '.join(sorted(known))}",
                file=cluster.source,
                field="spec.nodeName",
            )


def _with_pods(node: PlacedNode, cluster: Cluster, *, first: bool) -> PlacedNode:
    here = [pod for pod in cluster.pods if pod.node_name == node.name]
    own = [each for pod in here if pod.host_network for each in pod_listeners(pod)]
    pods = [pod for pod in here if pod.ips and not pod.host_network]
    if first and all(pod.name != CLIENT for pod in cluster.pods):
        taken = {ip for pod in cluster.pods for ip in pod.ips}
        taken |= {address for _, endpoint in endpoints(cluster) for address in endpoint.addresses}
        pods.append(Pod("default", CLIENT, node.name, tuple(_free(net, taken) for net in node.pod_cidrs)))
    return replace(node, pods=tuple(pods), own_listeners=distinct(own))


def _free(net: Network, taken: set[str]) -> str:
    """The first address of a pod range, from its fifth on, that nobody has."""
    for number in range(5, min(net.num_addresses - 1, 65536)):
        if str(net[number]) not in taken:
            return str(net[number])
    raise ManifestError(
        f"place the pod {CLIENT!r} in {net}", "every address is taken", f"add a Pod {CLIENT!r}, or a wider podCIDR"
    )


def _with_strays(node: PlacedNode, cluster: Cluster, nodes: list[PlacedNode]) -> PlacedNode:
    """Give a node the endpoint addresses that no Pod answers for."""
    held = {ip for pod in cluster.pods for ip in pod.ips} | {*CONTROL_PLANE_ADDRESSES, *ROUTER_ADDRESSES}
    held |= {ip for each in nodes if each.name != node.name for ip in each.ips}
    strays: set[str] = set()
    shared: list[Listener] = []
    own = list(node.own_listeners)
    for listeners, endpoint in endpoints(cluster):
        for address in endpoint.addresses:
            if address in node.ips:
                own += listeners
            elif address not in held and _home(endpoint, address, nodes) == node.name:
                strays.add(address)
                shared += listeners
    prefixes = _ordered({_prefix(address, node) for address in strays})
    return replace(
        node,
        prefixes=prefixes,
        answered=_answered(strays, prefixes, _taken(node)),
        shared_listeners=distinct(shared),
        own_listeners=distinct(own),
    )


def _taken(node: PlacedNode) -> set[str]:
    """The addresses behind a node that somebody else has."""
    gateways = {gateway for gateway in (node.gateway(4), node.gateway(6)) if gateway}
    return {*node.ips, *(ip for pod in node.pods for ip in pod.ips), *gateways}


def _answered(strays: set[str], prefixes: tuple[Network, ...], taken: set[str]) -> tuple[Network, ...]:
    """The addresses as networks: just those, or the prefixes less what is taken, whichever needs fewer routes."""
    just: list[Network] = [
        *collapse_addresses(IPv4Network(ip) for ip in strays if ":" not in ip),
        *collapse_addresses(IPv6Network(ip) for ip in strays if ":" in ip),
    ]
    rest = list(prefixes)
    for holder in map(ip_address, taken):
        within = [net for net in rest if holder in net]
        rest = [net for net in rest if holder not in net]
        rest += [part for net in within for part in net.address_exclude(ip_network(holder))]  # type: ignore[arg-type]
    return _ordered(just if len(just) <= len(rest) else rest)


def _ordered(networks: Iterable[Network]) -> tuple[Network, ...]:
    return tuple(sorted(networks, key=lambda net: (net.version, int(net.network_address), net.prefixlen)))


def _home(endpoint: Endpoint, address: str, nodes: list[PlacedNode]) -> str:
    """The node that answers for an endpoint's address: the one named, else its range's, else the first."""
    if endpoint.node_name is not None and any(node.name == endpoint.node_name for node in nodes):
        return endpoint.node_name
    ip = ip_address(address)
    return next((node.name for node in nodes for net in node.pod_cidrs if ip in net), nodes[0].name)


def _prefix(address: str, node: PlacedNode) -> Network:
    """The prefix to answer for: the node's own range; else just the address, which always is safe to route."""
    ip = ip_address(address)
    return next((net for net in node.pod_cidrs if ip in net), ip_network(address))


def _check_addresses(nodes: list[PlacedNode]) -> None:
    seen = dict.fromkeys((*ROUTER_ADDRESSES, *CONTROL_PLANE_ADDRESSES), "the lab itself")
    for node in nodes:
        claims = [(ip, f"Node {node.name}") for ip in node.ips]
        claims += [(ip, f"Pod {pod.namespace}/{pod.name}") for pod in node.pods for ip in pod.ips]
        for ip, owner in claims:
            if ip in seen:
                raise ManifestError(
                    f"{owner} has the address {ip}",
                    f"so has {seen[ip]}",
                    "give each Pod and Node an address of its own",
                )
            seen[ip] = owner
