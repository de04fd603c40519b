"""Which endpoints get traffic: traffic policies, topology hints, terminating endpoints, joined slices."""

from __future__ import annotations

from typing import Any

import pytest

from kplab.model.cluster import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort
from kplab.modes.endpoints import Categorized, PortKey, ProxyEndpoint, categorize, join_slices
from kplab.modes.services import cluster_ip, view_port

pytestmark = pytest.mark.unit


def endpoint(last: int, **fields: Any) -> ProxyEndpoint:
    """An endpoint 10.0.0.LAST:80, ready and serving, elsewhere, unless said otherwise."""
    ready = fields.pop("ready", True)
    ip = f"10.0.0.{last}"
    return ProxyEndpoint(
        f"{ip}:80",
        ip,
        80,
        fields.get("local", False),
        ready,
        fields.get("serving", ready),
        fields.get("terminating", False),
        fields.get("zones", ()),
        fields.get("nodes", ()),
    )


def chosen(endpoints: list[ProxyEndpoint], *, cluster: bool = True, local: bool = False) -> Categorized:
    """Categorize on node-a in zone-1."""
    return categorize(endpoints, uses_cluster=cluster, uses_local=local, node="node-a", zone="zone-1")


def last(found: tuple[ProxyEndpoint, ...]) -> list[int]:
    """The last number of each address."""
    return [int(e.ip.rsplit(".", 1)[1]) for e in found]


def test_ready_endpoints_are_used_and_dying_ones_only_without_them() -> None:
    """Serving and terminating endpoints are a last resort; those that do not serve are never used."""
    dying = endpoint(2, ready=False, serving=True, terminating=True)
    dead = endpoint(3, ready=False, serving=False, terminating=True)
    starting = endpoint(4, ready=False)
    assert last(chosen([endpoint(1), dying, dead, starting]).cluster) == [1]
    assert last(chosen([dying, dead, starting]).cluster) == [2]
    assert chosen([dead, starting]) == Categorized((), (), (), has_any=False)


def test_local_sets_fall_back_on_their_own() -> None:
    """A local terminating endpoint is used under policy Local though a ready one is elsewhere."""
    dying = endpoint(2, ready=False, serving=True, terminating=True, local=True)
    found = chosen([endpoint(1), dying], local=True)
    assert (last(found.cluster), last(found.local), last(found.reachable)) == ([1], [2], [1, 2])


def test_endpoints_elsewhere_count_as_some() -> None:
    """Under policy Local alone, an endpoint elsewhere makes the difference between DROP and REJECT."""
    found = chosen([endpoint(1)], cluster=False, local=True)
    assert found == Categorized((), (), (), has_any=True)
    assert not chosen([], cluster=False, local=True).has_any


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"zones": ("zone-1",)}, {"zones": ("zone-2",)}, [1]),
        ({"zones": ("zone-1",)}, {}, [1, 2]),
        ({"zones": ("zone-2",)}, {"zones": ("zone-3",)}, [1, 2]),
        ({"zones": ("zone-2", "zone-1")}, {"zones": ("zone-1",)}, [1, 2]),
        ({"nodes": ("node-a",), "zones": ("zone-2",)}, {"nodes": ("node-b",), "zones": ("zone-1",)}, [1]),
        ({"nodes": ("node-b",), "zones": ("zone-2",)}, {"nodes": ("node-b",), "zones": ("zone-1",)}, [2]),
        ({"nodes": ("node-a",), "zones": ("zone-2",)}, {"zones": ("zone-1",)}, [2]),
    ],
)
def test_hints_count_only_when_all_have_them_and_one_is_ours(
    first: dict[str, Any], second: dict[str, Any], expected: list[int]
) -> None:
    """Hints for nodes go before hints for zones; otherwise there is no filter."""
    assert last(chosen([endpoint(1, **first), endpoint(2, **second)]).cluster) == expected


def test_hints_leave_local_and_dying_endpoints_alone() -> None:
    """Topology narrows the cluster set only, and only ready endpoints."""
    away = endpoint(1, zones=("zone-2",), local=True)
    near = endpoint(2, zones=("zone-1",))
    found = chosen([away, near], local=True)
    assert (last(found.cluster), last(found.local)) == ([2], [1])
    dying = [endpoint(n, ready=False, serving=True, terminating=True, zones=(f"zone-{n}",)) for n in (1, 2)]
    assert last(chosen(dying).cluster) == [1, 2]


def piece(name: str, *endpoints: Endpoint, **fields: Any) -> EndpointSlice:
    """A slice of default/web with port http 8080."""
    fields.setdefault("ports", (EndpointPort(8080, "TCP", "http"),))
    return EndpointSlice("default", name, "web", endpoints=endpoints, **fields)


KEY = PortKey("default", "web", "http", "TCP")


def test_slices_are_joined_and_a_local_copy_wins() -> None:
    """The same address in two slices counts once; only the first address of an endpoint is used."""
    elsewhere = Endpoint(("10.0.0.1",), "node-b", ready=True)
    here = Endpoint(("10.0.0.1",), "node-a", ready=False)
    other = Endpoint(("10.0.0.2", "10.0.0.9"), None)
    for order in ((piece("a", elsewhere, other), piece("b", here)), (piece("b", here), piece("a", elsewhere, other))):
        found = join_slices(order, 4, "node-a")[KEY]
        assert [(e.text, e.local, e.ready) for e in found] == [
            ("10.0.0.1:8080", True, False),
            ("10.0.0.2:8080", False, True),
        ]


@pytest.mark.parametrize(
    "slice_",
    [
        piece("v6", Endpoint(("fd00::1",)), address_type="IPv6"),
        piece("name", Endpoint(("10.0.0.1",)), ports=(EndpointPort(8080, "TCP", None),)),
        piece("port", Endpoint(("10.0.0.1",)), ports=(EndpointPort(None, "TCP", "http"),)),
        piece("udp", Endpoint(("10.0.0.1",)), ports=(EndpointPort(8080, "UDP", "http"),)),
        piece("headless", Endpoint(("10.0.0.1",)), labels=(("service.kubernetes.io/headless", ""),)),
        piece("proxy", Endpoint(("10.0.0.1",)), labels=(("service.kubernetes.io/service-proxy-name", "x"),)),
        EndpointSlice("default", "nobody", None, ports=(EndpointPort(8080, "TCP", "http"),)),
    ],
    ids=lambda s: s.name,
)
def test_slices_that_kube_proxy_passes_over(slice_: EndpointSlice) -> None:
    """Another family, a port without name or number, another protocol, labels of others' slices."""
    assert KEY not in join_slices([slice_], 4, "node-a")


@pytest.mark.parametrize(
    ("fields", "external_local", "health"),
    [
        ({"type": "ClusterIP"}, False, None),
        ({"type": "ClusterIP", "external_ips": ("192.0.2.1",)}, True, None),
        ({"type": "NodePort"}, True, None),
        ({"type": "LoadBalancer"}, True, 32000),
        ({"type": "LoadBalancer", "external_traffic_policy": "Cluster"}, False, None),
    ],
)
def test_policy_local_counts_where_there_is_an_outside(
    fields: dict[str, Any], external_local: bool, health: int | None
) -> None:
    """Policy Local for external traffic needs a way in from outside; the health check a load balancer too."""
    fields.setdefault("external_traffic_policy", "Local")
    service = Service("default", "web", health_check_node_port=32000, **fields)
    view = view_port(service, ServicePort(80), "10.96.0.1", 4)
    assert (view.external_local, view.health_check_node_port) == (external_local, health)


def test_services_without_a_cluster_ip_here_are_skipped() -> None:
    """Headless, ExternalName, another proxy's, or of the other family only."""
    ips = ("fd00::1", "10.96.0.1")
    assert cluster_ip(Service("a", "b", cluster_ips=ips), 4) == "10.96.0.1"
    assert cluster_ip(Service("a", "b", cluster_ips=ips[:1]), 4) is None
    assert cluster_ip(Service("a", "b", cluster_ips=("None",)), 4) is None
    assert cluster_ip(Service("a", "b", "ExternalName"), 4) is None
    labels = (("service.kubernetes.io/service-proxy-name", "x"),)
    assert cluster_ip(Service("a", "b", cluster_ips=ips, labels=labels), 4) is None
