"""The lab that is planned for a cluster."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from kplab.errors import ManifestError
from kplab.lab.plan import cluster_cidrs, plan_lab
from kplab.model.cluster import Cluster, ContainerPort, Endpoint, EndpointPort, EndpointSlice, Node, Pod
from kplab.model.loader import load_cluster
from kplab.model.topology import End, Listener, Namespace, Route, Topology

pytestmark = pytest.mark.unit

LESSONS = Path(__file__).parents[3] / "lessons"


@pytest.fixture(scope="module")
def shipped() -> Topology:
    """The lab for the cluster that comes with it."""
    return plan_lab(load_cluster(LESSONS / "cluster.yaml"))


def found(topology: Topology, name: str) -> Namespace:
    """Return a namespace that must be there."""
    ns = topology.namespace(name)
    assert ns is not None
    return ns


def route(ns: Namespace, address: str) -> Route | None:
    """Return the route that a packet to an address takes: the longest prefix, connected ones included."""
    ip = ip_address(address)
    routes = [*ns.routes]
    for interface in ns.interfaces:
        routes += [Route(str(ip_network(a, strict=False)), interface.name) for a in interface.addresses]
    fitting = [r for r in routes if ip in ip_network(r.destination)]
    return max(fitting, key=lambda r: ip_network(r.destination).prefixlen, default=None)


def test_the_shipped_cluster_has_the_documented_places(shipped: Topology) -> None:
    """Nodes, control-plane and outside are on one switch, and have the addresses that the documentation names."""
    assert found(shipped, "node-a").addresses()[:2] == ("192.168.50.10", "fd00:192:168:50::10")
    assert found(shipped, "client").addresses()[0] == "10.244.1.5"
    assert set(found(shipped, "outside").addresses()) >= {"192.168.50.1", "203.0.113.10"}
    switched = {link.a.namespace for link in shipped.links if link.b.namespace == "underlay"}
    assert switched == {"node-a", "node-b", "control-plane", "outside"}


def test_every_link_ends_at_interfaces_that_exist_once(shipped: Topology) -> None:
    """Each end of a link is an interface of its namespace, and no interface has two links."""
    ends = [end for link in shipped.links for end in (link.a, link.b)]
    interfaces = {End(ns.name, i.name) for ns in shipped.namespaces for i in ns.interfaces if i.name != "br0"}

    assert len(ends) == len(set(ends))
    assert set(ends) == interfaces
    assert all(len(end.interface) <= 15 for end in ends)


@pytest.mark.parametrize("sender", ["client", "client-b", "web-3", "control-plane", "outside", "node-a", "node-b"])
@pytest.mark.parametrize("target", ["10.244.1.10", "10.244.2.10", "fd00:10:244:2::10", "203.0.113.10", "192.168.50.11"])
def test_every_pod_and_host_is_reached_from_everywhere(shipped: Topology, sender: str, target: str) -> None:
    """Following routes hop by hop ends at the namespace that has the address."""
    here = found(shipped, sender)
    for _ in range(5):
        if target in here.addresses():
            return
        chosen = route(here, target)
        assert chosen is not None, f"{here.name} has no route to {target}"
        hop = chosen.via or target
        neighbours = [ns for ns in shipped.namespaces if hop in ns.addresses() and ns.name != here.name]
        if chosen.via and here.role == "pod":
            neighbours = [found(shipped, here.node or "")]
        assert neighbours, f"nobody answers for {hop}"
        here = neighbours[0]
    pytest.fail(f"{target} is not reached from {sender}")


def test_nothing_leads_out_of_the_lab(shipped: Topology) -> None:
    """The last router has no default route."""
    assert route(found(shipped, "outside"), "8.8.8.8") is None
    assert route(found(shipped, "outside"), "2001:4860:4860::8888") is None


def test_outside_speaks_as_a_host_of_the_world(shipped: Topology) -> None:
    """Every route of outside prefers 203.0.113.10 (or its IPv6 like) as the source."""
    sources = {r.source for r in found(shipped, "outside").routes}

    assert sources == {"203.0.113.10", "2001:db8:113::10"}


def test_service_addresses_of_the_world_are_brought_to_node_a(shipped: Topology) -> None:
    """External and load balancer addresses are routed from outside to the first node."""
    for address in ("198.51.100.60", "198.51.100.80", "198.51.100.81"):
        chosen = route(found(shipped, "outside"), address)
        assert chosen is not None
        assert chosen.via == "192.168.50.10"


def test_pods_listen_on_their_container_ports(shipped: Topology) -> None:
    """UDP echoes; TCP echoes when its port's name says so, and speaks HTTP otherwise."""
    assert found(shipped, "echo-1").listeners == (Listener("TCP", 7, "tcp-echo"), Listener("UDP", 7, "udp-echo"))
    assert found(shipped, "web-1").listeners == (Listener("TCP", 8080, "http"),)
    assert found(shipped, "client").listeners == ()
    assert Listener("TCP", 6443, "http") in found(shipped, "control-plane").listeners


def test_without_servers_nobody_listens(shipped: Topology) -> None:
    """`with_servers=False` plans the same lab with no listener in it."""
    silent = plan_lab(load_cluster(LESSONS / "cluster.yaml"), with_servers=False)

    assert not any(ns.listeners for ns in silent.namespaces)
    assert silent.links == shipped.links


def test_an_empty_cluster_still_has_two_nodes_and_a_client() -> None:
    """A manifest of Services alone is enough: nodes, pod ranges and a client are the lab's own."""
    topology = plan_lab(Cluster())

    assert [ns.name for ns in topology.namespaces if ns.role == "node"] == ["node-a", "node-b"]
    assert found(topology, "client").addresses() == ("10.244.1.5", "fd00:10:244:1::5")


def slice_of(*endpoints: Endpoint, port: int = 80) -> EndpointSlice:
    """An EndpointSlice with one TCP port."""
    return EndpointSlice("demo", "s", "s", ports=(EndpointPort(port),), endpoints=endpoints)


def test_endpoints_without_pods_share_one_namespace_a_node() -> None:
    """Many endpoint addresses of a node's range cost one namespace, which has just these for its own."""
    endpoints = [Endpoint((f"10.244.1.{n}",), node_name="node-a") for n in range(10, 250)]
    topology = plan_lab(Cluster(endpoint_slices=(slice_of(*endpoints),)))

    shared = found(topology, "pods-node-a")
    local = [ip_network(r.destination) for r in shared.routes if r.table == "local"]
    assert len(local) < 20
    assert all(any(ip_address(e.addresses[0]) in net for net in local) for e in endpoints)
    assert not any(ip_address(held) in net for net in local for held in ("10.244.1.1", "10.244.1.5"))
    assert shared.listeners == (Listener("TCP", 80, "http"),)
    onward = route(found(topology, "node-a"), "10.244.1.99")
    assert onward is not None
    assert topology.peer(End("node-a", onward.device)) == End("pods-node-a", "eth0")


def test_scattered_endpoints_never_take_a_pods_address() -> None:
    """Every other address of a range: the range is taken less the client's and the gateway's, in few routes."""
    endpoints = [Endpoint((f"10.244.1.{n}",), node_name="node-a") for n in range(7, 250, 2)]
    topology = plan_lab(Cluster(endpoint_slices=(slice_of(*endpoints),)))

    local = [ip_network(r.destination) for r in found(topology, "pods-node-a").routes if r.table == "local"]
    assert len(local) < 20
    assert all(any(ip_address(e.addresses[0]) in net for net in local) for e in endpoints)
    assert not any(ip_address(held) in net for net in local for held in ("10.244.1.1", "10.244.1.5"))


def test_a_stray_endpoint_outside_every_range_is_routed_by_its_address() -> None:
    """An endpoint that is in no pod range is answered on its own node, and every other host knows the way."""
    topology = plan_lab(Cluster(endpoint_slices=(slice_of(Endpoint(("10.180.0.7",), node_name="node-b")),)))

    assert route(found(topology, "node-a"), "10.180.0.7") == Route("10.180.0.7/32", "eth0", via="192.168.50.11")
    assert Route("10.180.0.7/32", "lo", table="local") in found(topology, "pods-node-b").routes


def test_an_ipv6_prefix_is_reached_by_the_link_local_address() -> None:
    """IPv6 neighbours answer only for addresses that an interface has, so a local prefix hangs on fe80::2."""
    slice_ = EndpointSlice(
        "demo", "s", "s", "IPv6", (EndpointPort(80),), (Endpoint(("fd00:10:244:1::77",), node_name="node-a"),)
    )
    topology = plan_lab(Cluster(endpoint_slices=(slice_,)))

    chosen = route(found(topology, "node-a"), "fd00:10:244:1::77")
    assert chosen is not None
    assert chosen.via == "fe80::2"


def test_host_network_pods_listen_on_their_node() -> None:
    """A host-network pod has no namespace of its own; its ports are the node's."""
    pod = Pod("demo", "agent", "node-b", ("192.168.50.11",), (ContainerPort(9100),), host_network=True)
    topology = plan_lab(Cluster(pods=(pod,)))

    assert topology.namespace("agent") is None
    assert found(topology, "node-b").listeners == (Listener("TCP", 9100, "http"),)


def test_pods_of_one_name_are_told_apart_by_their_namespace() -> None:
    """Two pods of one name get `name.namespace`."""
    pods = (Pod("a", "db", "node-a", ("10.244.1.9",)), Pod("b", "db", "node-a", ("10.244.1.10",)))
    topology = plan_lab(Cluster(pods=pods))

    assert {"db.a", "db.b"} <= {ns.name for ns in topology.namespaces}


def test_nodes_of_another_network_become_neighbours() -> None:
    """Nodes whose addresses are not the underlay's reach each other and the router on the link."""
    nodes = (Node("kind-worker", ("172.18.0.3",), ("10.244.1.0/24",)), Node("b", ("172.18.0.4",), ("10.244.2.0/24",)))
    topology = plan_lab(Cluster(nodes=nodes))

    node = found(topology, "kind-worker")
    assert Route("172.18.0.4/32", "eth0") in node.routes
    assert Route("192.168.50.0/24", "eth0") in node.routes
    assert route(found(topology, "outside"), "172.18.0.3") is not None


@pytest.mark.parametrize(
    ("cluster", "word"),
    [
        (Cluster(pods=(Pod("d", "p", "nowhere", ("10.244.1.9",)),)), "nowhere"),
        (
            Cluster(pods=(Pod("d", "p", "node-a", ("10.244.1.9",)), Pod("d", "q", "node-b", ("10.244.1.9",)))),
            "10.244.1.9",
        ),
        (Cluster(nodes=(Node("outside", ("192.168.50.10",)),)), "outside"),
        (Cluster(nodes=(Node("n", ("192.168.50.1",)),)), "192.168.50.1"),
    ],
    ids=["pod on no node", "address twice", "a node named as the lab's own", "a node with the router's address"],
)
def test_what_cannot_be_built_is_a_manifest_error(cluster: Cluster, word: str) -> None:
    """A contradiction in the cluster is named before anything is made."""
    with pytest.raises(ManifestError, match=word):
        plan_lab(cluster)


def test_the_cluster_cidr_holds_every_pod_range() -> None:
    """kube-proxy's clusterCIDR is kubeadm's own for the shipped cluster, and wider where pod ranges lie apart."""
    assert cluster_cidrs(load_cluster(LESSONS / "cluster.yaml")) == ("10.244.0.0/16", "fd00:10:244::/56")
    apart = Cluster(nodes=(Node("a", ("1.1.1.1",), ("10.10.0.0/24",)), Node("b", ("1.1.1.2",), ("10.11.0.0/24",))))
    assert cluster_cidrs(apart) == ("10.10.0.0/15",)
