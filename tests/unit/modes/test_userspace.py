"""Userspace mode's rules: every Service's traffic goes to a port of kube-proxy's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.model.config import ProxyConfig
from kplab.model.loader import load_cluster
from kplab.modes.facts import NodeFacts
from kplab.modes.userspace import FIRST_PORT, compile_userspace, proxied_ports

pytestmark = pytest.mark.unit

CLUSTER = load_cluster(Path(__file__).parents[3] / "lessons" / "cluster.yaml")


def rules(family: int = 4) -> list[str]:
    """The rules on node-a, nat's and filter's."""
    program = compile_userspace(CLUSTER, ProxyConfig(), "node-a", 6 if family == 6 else 4, NodeFacts())
    return [rule.text for table in program.tables for rule in table.rules]


def test_a_cluster_ip_is_redirected_from_pods_and_translated_from_the_node() -> None:
    """PREROUTING uses REDIRECT; OUTPUT uses DNAT to the node's own address, where REDIRECT would mean loopback."""
    port = next(port.proxy_port for port in proxied_ports(CLUSTER, "node-a") if port.owner == "demo/web:http")
    match = "-m comment --comment demo/web:http -p tcp -m tcp --dport 80 -d 10.96.0.42/32"

    assert [rule for rule in rules() if "10.96.0.42" in rule] == [
        f"-A KUBE-PORTALS-CONTAINER {match} -j REDIRECT --to-ports {port}",
        f"-A KUBE-PORTALS-HOST {match} -j DNAT --to-destination 192.168.50.10:{port}",
    ]


def test_a_node_port_is_redirected_and_let_in() -> None:
    """A NodePort has a rule in each NODEPORT chain, and one in filter that lets its proxy port in."""
    found = [rule.split()[1] for rule in rules() if "demo/shop:http" in rule and "10.96." not in rule]

    assert found == ["KUBE-NODEPORT-NON-LOCAL", "KUBE-NODEPORT-CONTAINER", "KUBE-NODEPORT-HOST"]


def test_ipv6_has_no_rules() -> None:
    """The old mode was for one family."""
    assert rules(6) == []


def test_each_service_port_has_a_port_of_its_own_and_keeps_it() -> None:
    """Ports are counted up; one that is taken stays with its Service, and is given to no other."""
    first = proxied_ports(CLUSTER, "node-a")
    last = first[-1]
    again = proxied_ports(CLUSTER, "node-a", {last.name: FIRST_PORT})

    assert [port.proxy_port for port in first] == list(range(FIRST_PORT, FIRST_PORT + len(first)))
    assert again[-1].proxy_port == FIRST_PORT
    assert sorted(port.proxy_port for port in again) == [port.proxy_port for port in first]


def test_endpoints_that_are_not_ready_are_left_out() -> None:
    """Only ready endpoints are chosen from; a Service without any is listened for all the same."""
    by_owner = {port.owner: port.endpoints for port in proxied_ports(CLUSTER, "node-a")}

    assert by_owner["demo/web:http"] == ("10.244.1.10:8080", "10.244.1.11:8080", "10.244.2.10:8080")
    assert by_owner["demo/cart:http"] == ()
