"""From a cluster to the lab that stands for it: namespaces, links, addresses, routes. Pure.

Nodes, `control-plane` and `outside` hang on a bridge in a namespace `underlay` (192.168.50.0/24 and
fd00:192:168:50::/64). `outside` is the router there, 192.168.50.1, and a host of the world as well,
203.0.113.10. A pod is tied to its node as the ptp CNI plugin (kind's kindnet) does it: a veth pair, the pod's
address with a full-length prefix, the gateway's address on every node end, and a host route on the node.

Addresses of endpoints that have no Pod object are answered by one namespace a node, `pods-NODE`, which takes
whole prefixes for its own (routes of type local); so thousands of endpoints cost one namespace.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address, ip_network

from msgspec import structs

from kplab.lab.listeners import distinct, pod_listeners
from kplab.lab.names import interface_name, short_names
from kplab.lab.placing import (
    CONTROL_PLANE_ADDRESSES,
    RESERVED,
    ROUTER_ADDRESSES,
    UNDERLAY_NETWORKS,
    PlacedNode,
    bare_nodes,
    endpoints,
    place,
)
from kplab.lab.sysctls import NODE, POD, ROUTER, UNDERLAY
from kplab.model.cluster import Cluster
from kplab.model.topology import End, Interface, Link, Listener, Namespace, Route, Topology

WORLD_ADDRESSES = {4: "203.0.113.10", 6: "2001:db8:113::10"}
"""`outside`'s own, by IP family: documentation ranges (RFC 5737, RFC 3849), so that they are nobody's."""
API_SERVER = Listener(protocol="TCP", port=6443, kind="http")
BRIDGE = "br0"
SHARED_LINK_LOCAL = "fe80::2"
"""A shared namespace's address on its link: IPv6 asks for a neighbour by an address that the interface has."""


def plan_lab(cluster: Cluster, *, with_servers: bool = True) -> Topology:
    """Return the lab for a cluster: nodes with their pods first, then control-plane, outside, underlay.

    Raises:
        ManifestError: as `kplab.lab.placing.place` says.
    """
    nodes = place(cluster)
    names = short_names([pod for node in nodes for pod in node.pods], {*RESERVED, *(node.name for node in nodes)})
    namespaces: list[Namespace] = []
    links: list[Link] = []
    for node in nodes:
        members = _members(node, names)
        namespaces += [_node_namespace(node, nodes, members), *members]
        links += [Link(End(m.name, "eth0"), End(node.name, interface_name("veth-", m.name))) for m in members]
    edges = (*(node.name for node in nodes), "control-plane", "outside")
    ports = [Interface(interface_name("p-", edge)) for edge in edges]
    links += [Link(End(edge, "eth0"), End("underlay", port.name)) for edge, port in zip(edges, ports, strict=True)]
    underlay = Namespace("underlay", "underlay", interfaces=(Interface(BRIDGE), *ports), sysctls=UNDERLAY)
    namespaces += [_control_plane(nodes, cluster), _outside(nodes, cluster), underlay]
    if not with_servers:
        namespaces = [_silent(ns) for ns in namespaces]
    return Topology(tuple(namespaces), tuple(links))


def cluster_cidrs(cluster: Cluster) -> tuple[str, ...]:
    """Return one range a family that holds every node's pod range: kube-proxy's `clusterCIDR` for this lab.

    At least as wide as what kubeadm's users give: /16 and /56.
    """
    chosen = []
    for version, widest in ((4, 16), (6, 56)):
        nets = [net for node in bare_nodes(cluster) for net in node.pod_cidrs if net.version == version]
        if not nets:
            continue
        whole = nets[0].supernet(new_prefix=min(widest, nets[0].prefixlen))
        while not all(int(net[0]) >= int(whole[0]) and int(net[-1]) <= int(whole[-1]) for net in nets):
            whole = whole.supernet()
        chosen.append(str(whole))
    return tuple(chosen)


def _members(node: PlacedNode, names: dict[str, str]) -> list[Namespace]:
    """The namespaces behind a node: its pods, and the one that answers for the rest."""
    members = []
    for pod in node.pods:
        key = f"{pod.namespace}/{pod.name}"
        members.append(
            Namespace(
                names[key],
                "pod",
                node=node.name,
                kubernetes_name=key,
                interfaces=(Interface("eth0", tuple(_host(ip) for ip in pod.ips)),),
                routes=_pod_routes(node, {ip_address(ip).version for ip in pod.ips}),
                listeners=pod_listeners(pod),
                sysctls=POD,
            )
        )
    if node.prefixes:
        versions = {net.version for net in node.prefixes}
        addresses = (f"{SHARED_LINK_LOCAL}/64",) if 6 in versions else ()
        answered = tuple(Route(str(net), "lo", table="local") for net in node.answered)
        members.append(
            Namespace(
                _shared_name(node),
                "pod",
                node=node.name,
                interfaces=(Interface("eth0", addresses),),
                routes=(*_pod_routes(node, versions), *answered),
                listeners=node.shared_listeners,
                sysctls=POD,
            )
        )
    return members


def _shared_name(node: PlacedNode) -> str:
    return f"pods-{node.name}"


def _pod_routes(node: PlacedNode, versions: Collection[int]) -> tuple[Route, ...]:
    """What the ptp plugin gives a pod: the gateway on the link, and everything else through it."""
    routes: list[Route] = []
    for version in sorted(versions):
        gateway = node.gateway(version)
        if gateway:
            routes += [Route(_host(gateway), "eth0"), Route(_any(version), "eth0", via=gateway)]
    return tuple(routes)


def _node_namespace(node: PlacedNode, nodes: list[PlacedNode], members: list[Namespace]) -> Namespace:
    gateways = tuple(_host(g) for g in (node.gateway(4), node.gateway(6)) if g)
    routes: list[Route] = []
    for member in members:
        device = interface_name("veth-", member.name)
        routes += [Route(_host(ip), device) for ip in member.addresses() if ip != SHARED_LINK_LOCAL]
        if member.name == _shared_name(node):
            for net in node.prefixes:
                routes.append(Route(str(net), device, via=SHARED_LINK_LOCAL if net.version == 6 else None))
    return Namespace(
        node.name,
        "node",
        interfaces=(
            Interface("eth0", tuple(_on_underlay(ip) for ip in node.ips)),
            *(Interface(interface_name("veth-", member.name), gateways) for member in members),
        ),
        routes=(
            *routes,
            *_underlay_routes(node.ips, nodes),
            *_behind(nodes, leave_out=node.name),
            *_defaults(node.ips),
        ),
        listeners=node.own_listeners,
        sysctls=NODE,
    )


def _control_plane(nodes: list[PlacedNode], cluster: Cluster) -> Namespace:
    listeners = [API_SERVER]
    for ports, endpoint in endpoints(cluster):
        if set(endpoint.addresses) & set(CONTROL_PLANE_ADDRESSES):
            listeners += ports
    ips = CONTROL_PLANE_ADDRESSES
    return Namespace(
        "control-plane",
        "control-plane",
        interfaces=(Interface("eth0", tuple(_on_underlay(ip) for ip in ips)),),
        routes=(*_underlay_routes(ips, nodes), *_behind(nodes), *_defaults(ips)),
        listeners=distinct(listeners),
        sysctls=POD,
    )


def _outside(nodes: list[PlacedNode], cluster: Cluster) -> Namespace:
    """The router, and a host of the world: it speaks as 203.0.113.10, and brings Services' addresses to the first node.

    It has no default route: nothing leaves the lab.
    """
    wanted = {ip for service in cluster.services for ip in service.external_ips}
    wanted |= {each.ip for service in cluster.services for each in service.load_balancer_ingress if each.ip}
    own = {*ROUTER_ADDRESSES, *WORLD_ADDRESSES.values()}
    own |= {ip for node in nodes for ip in node.ips}
    routes = [Route(str(net), "eth0") for net in UNDERLAY_NETWORKS]
    routes += [*_underlay_routes(ROUTER_ADDRESSES, nodes), *_behind(nodes)]
    for address in sorted(wanted - own):
        via = nodes[0].ip(ip_address(address).version)
        if via:
            routes.append(Route(_host(address), "eth0", via=via))
    addresses = (*ROUTER_ADDRESSES, *WORLD_ADDRESSES.values())
    return Namespace(
        "outside",
        "outside",
        interfaces=(Interface("eth0", tuple(_host(ip) for ip in addresses)),),
        routes=tuple(structs.replace(r, source=WORLD_ADDRESSES[_version(r.destination)]) for r in routes),
        sysctls=ROUTER,
    )


def _underlay_routes(ips: tuple[str, ...], nodes: list[PlacedNode]) -> list[Route]:
    """On-link routes that make neighbours of hosts whose addresses are not in the underlay's own networks."""
    routes = [Route(_host(ip), "eth0") for node in nodes for ip in node.ips if not _in_underlay(ip) and ip not in ips]
    strangers = {_version(ip) for ip in ips if not _in_underlay(ip)}
    at_home = {_version(ip) for ip in ips if _in_underlay(ip)}
    return routes + [Route(str(net), "eth0") for net in UNDERLAY_NETWORKS if net.version in strangers - at_home]


def _behind(nodes: list[PlacedNode], leave_out: str = "") -> list[Route]:
    """Routes to all that is behind the nodes, through their addresses on the underlay."""
    routes = []
    for node in nodes:
        if node.name == leave_out:
            continue
        nets = [*node.pod_cidrs, *(net for net in node.prefixes if net not in node.pod_cidrs)]
        ips = [ip for pod in node.pods for ip in pod.ips]
        nets += [ip_network(ip) for ip in ips if not any(ip_address(ip) in net for net in nets)]
        for net in nets:
            via = node.ip(net.version)
            if via:
                routes.append(Route(str(net), "eth0", via=via))
    return routes


def _defaults(ips: tuple[str, ...]) -> list[Route]:
    versions = {_version(ip) for ip in ips}
    return [Route(_any(_version(ip)), "eth0", via=ip) for ip in ROUTER_ADDRESSES if _version(ip) in versions]


def _silent(ns: Namespace) -> Namespace:
    return structs.replace(ns, listeners=())


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _in_underlay(ip: str) -> bool:
    return any(ip_address(ip) in net for net in UNDERLAY_NETWORKS)


def _on_underlay(ip: str) -> str:
    return next((f"{ip}/{net.prefixlen}" for net in UNDERLAY_NETWORKS if ip_address(ip) in net), _host(ip))


def _host(ip: str) -> str:
    return f"{ip}/{128 if ':' in ip else 32}"


def _any(version: int) -> str:
    return "0.0.0.0/0" if version == 4 else "::/0"
