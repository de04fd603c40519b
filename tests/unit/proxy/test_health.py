"""When the proxy counts as healthy, and what its metrics say."""

from __future__ import annotations

import json

import pytest

from kplab.errors import ApplyError
from kplab.model.cluster import (
    Cluster,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    LoadBalancerIngress,
    Service,
    ServicePort,
)
from kplab.proxy.health import Health, checked_services
from kplab.proxy.metrics import Metrics
from kplab.proxy.proxier import SyncOutcome

pytestmark = pytest.mark.unit


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_a_change_may_wait_for_two_sync_periods() -> None:
    """Then /healthz is 503, with the time of the last sync; a sync makes it 200 again."""
    clock = Clock()
    health = Health(60.0, clock)
    health.queued(4)
    clock.now += 60.0
    in_time = health.answer(eligible=True)
    clock.now += 1.0
    late = health.answer(eligible=True)
    health.updated(4)
    after = health.answer(eligible=False)

    assert in_time[0] == 200
    assert late[0] == 503
    assert json.loads(late[1]) == {
        "lastUpdated": "1970-01-01 00:16:40.000000 +0000 UTC",
        "currentTime": "1970-01-01 00:17:41.000000 +0000 UTC",
        "nodeEligible": True,
    }
    assert after[0] == 200
    assert sorted(json.loads(after[1])) == ["currentTime", "lastUpdated"]


def test_the_oldest_change_counts() -> None:
    """A later one does not make an earlier one younger, and one family does not speak for the other."""
    clock = Clock()
    health = Health(60.0, clock)
    health.queued(6)
    clock.now += 59.0
    health.queued(6)
    health.queued(4)
    health.updated(4)
    clock.now += 2.0

    assert not health.healthy()


def test_a_health_check_counts_ready_endpoints_of_this_node() -> None:
    """Each address once, whatever ports it has; only Services of type LoadBalancer and policy Local are checked."""
    ports = (ServicePort(80, name="a", node_port=30080), ServicePort(81, name="b", node_port=30081))
    service = Service(
        "demo", "edge", type="LoadBalancer", cluster_ips=("10.96.0.9",), ports=ports, external_traffic_policy="Local",
        load_balancer_ingress=(LoadBalancerIngress("203.0.113.9"),), health_check_node_port=32000,
    )  # fmt: skip
    endpoints = (
        Endpoint(("10.244.1.2",), "node-a"),
        Endpoint(("10.244.1.3",), "node-a", ready=False),
        Endpoint(("10.244.2.2",), "node-b"),
    )
    piece = EndpointSlice(
        "demo", "e", "edge", ports=(EndpointPort(8080, name="a"), EndpointPort(8081, name="b")), endpoints=endpoints
    )
    checked = checked_services(Cluster((service,), (piece,)), 4, "node-a")

    assert {port: found.local_endpoints for port, found in checked.items()} == {32000: 1}
    assert checked[32000].answer(healthy=True)[0] == 200
    assert checked[32000].answer(healthy=False)[0] == 503
    assert checked_services(Cluster((service,)), 4, "node-a")[32000].answer(healthy=True)[0] == 503


def test_syncs_are_counted_by_kind_and_by_family() -> None:
    """Histograms are cumulative; a failed partial sync counts in both counters of failures."""
    metrics = Metrics(Clock())
    metrics.synced(SyncOutcome(4, "full", 0.003, None))
    metrics.synced(SyncOutcome(4, "partial", 0.5, ApplyError("x")))
    lines = metrics.text().splitlines()

    for line in (
        'kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family="IPv4",le="0.002"} 0',
        'kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family="IPv4",le="0.004"} 1',
        'kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family="IPv4",le="+Inf"} 2',
        'kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1',
        'kubeproxy_sync_partial_proxy_rules_duration_seconds_sum{ip_family="IPv4"} 0.5',
        'kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family="IPv4"} 1',
        'kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total{ip_family="IPv4"} 1',
        'kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family="IPv6"} 0',
        'kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"} 1000',
    ):
        assert line in lines
    assert lines.count("# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram") == 1
