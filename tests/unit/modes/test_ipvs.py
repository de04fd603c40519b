"""What the golden scenarios of IPVS mode do not hold: odd addresses, `mh`, reading ipvsadm's listings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kplab.errors import UsageError
from kplab.model.cluster import (
    Cluster,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    LoadBalancerIngress,
    Service,
    ServicePort,
)
from kplab.model.proxy_config import IpvsConfig, ProxyConfig
from kplab.modes import ipvs_sets as sets
from kplab.modes.facts import NodeFacts
from kplab.modes.ipvs import compile_ipvs
from kplab.modes.ipvs_program import IpvsProgram
from kplab.modes.ipvs_sets import KINDS, SetKind, set_name
from kplab.modes.ipvs_sysctls import ipvs_sysctls
from kplab.rules.ipvsadm import Connection, HeldReal, HeldServer, parse_connections, parse_list, parse_save

pytestmark = pytest.mark.unit

EDGE = Service(
    "demo",
    "edge",
    "LoadBalancer",
    cluster_ips=("10.96.0.50",),
    ports=(ServicePort(80, "TCP", "http", node_port=30081),),
    load_balancer_ingress=(LoadBalancerIngress("203.0.113.10"),),
)
SLICE = EndpointSlice(
    "demo", "edge-1", "edge", ports=(EndpointPort(8080, "TCP", "http"),), endpoints=(Endpoint(("10.244.1.10",), "a"),)
)


def program(service: Service, addresses: tuple[str, ...], config: ProxyConfig | None = None) -> IpvsProgram:
    """What node a writes for one Service."""
    return compile_ipvs(Cluster((service,), (SLICE,)), config or ProxyConfig(), "a", 4, NodeFacts(addresses))


def entries(found: IpvsProgram, kind: SetKind) -> tuple[str, ...]:
    """One set's entries."""
    return next(each.entries for each in found.sets if each.name == set_name(kind, 4))


def test_no_node_address_means_no_node_port() -> None:
    """Where the node has loopback only, a NodePort is left out: neither a virtual server nor an entry."""
    found = program(EDGE, ("127.0.0.1",))
    assert [server.key.port for server in found.servers] == [80, 80]
    assert entries(found, sets.NODE_PORT_TCP) == ()


def test_node_ports_are_served_on_every_address_of_the_node() -> None:
    """Each non-loopback address has a virtual server of its own."""
    found = program(EDGE, ("127.0.0.1", "192.168.50.10", "172.17.0.1"))
    served = [server.key.address for server in found.servers if server.key.port == 30081]
    assert served == ["192.168.50.10", "172.17.0.1"]


def test_an_address_of_another_interface_is_served_but_not_bound() -> None:
    """A load balancer's address that the node holds already stays where it is."""
    found = program(EDGE, ("192.168.50.10", "203.0.113.10"))
    assert found.addresses == ("10.96.0.50",)
    assert entries(found, sets.IPVS_IPS) == ("10.96.0.50",)
    assert any(server.key.address == "203.0.113.10" for server in found.servers)


def test_a_range_of_everything_restricts_nothing() -> None:
    """An ipset refuses 0.0.0.0/0; it means what no ranges mean."""
    found = program(replace(EDGE, load_balancer_source_ranges=("0.0.0.0/0", "10.0.0.0/8")), ("192.168.50.10",))
    assert found == program(EDGE, ("192.168.50.10",))


def test_maglev_hashes_ports_too() -> None:
    """The scheduler `mh` gets its flag for the source port, on every virtual server."""
    found = program(EDGE, ("192.168.50.10",), ProxyConfig(ipvs=IpvsConfig(scheduler="mh")))
    assert {server.options for server in found.servers} == {"-s mh -b mh-port"}


def test_link_local_addresses_have_no_node_ports() -> None:
    """fe80:: addresses are not unique to an interface, and kube-proxy leaves them out."""
    service = replace(EDGE, cluster_ips=("fd00:10:96::50",), load_balancer_ingress=())
    facts = NodeFacts(("::1", "fe80::1", "fd00::10"))
    found = compile_ipvs(Cluster((service,)), ProxyConfig(), "a", 6, facts)
    assert [server.key.address for server in found.servers] == ["fd00:10:96::50", "fd00::10"]


def test_no_name_of_a_set_is_too_long() -> None:
    """The kernel allows 31 characters, and seventeen names stay apart when cut."""
    names = {set_name(kind, family) for kind in KINDS for family in (4, 6)}
    assert len(names) == 34
    assert max(map(len, names)) == 31


def test_an_earlier_program_changes_nothing() -> None:
    """Starting from an earlier program gives the same."""
    earlier = program(EDGE, ("192.168.50.10",))
    facts = NodeFacts(("192.168.50.10",))
    assert compile_ipvs(Cluster((EDGE,), (SLICE,)), ProxyConfig(), "a", 4, facts, earlier) == earlier


@pytest.mark.parametrize(("kernel", "mode"), [((4, 0), None), ((4, 1), 0), ((5, 8), 0), ((5, 9), None)])
def test_connection_reuse_depends_on_the_kernel(kernel: tuple[int, int], mode: int | None) -> None:
    """conn_reuse_mode is set to 0 from Linux 4.1 to 5.8 only, and strictARP sets two more."""
    assert ipvs_sysctls(ProxyConfig(), kernel).get("net/ipv4/vs/conn_reuse_mode") == mode
    strict = ipvs_sysctls(ProxyConfig(ipvs=IpvsConfig(strict_arp=True)), kernel)
    assert (strict["net/ipv4/conf/all/arp_ignore"], strict["net/ipv4/conf/all/arp_announce"]) == (1, 2)


LISTING = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.96.0.50:80 mh persistent 10800 (mh-fallback,mh-port)
  -> 10.244.1.10:8080             Masq    0      3          1
UDP  [fd00:10:96::50]:53 rr
  -> [fd00:10:244:1::10]:53       Masq    1      0          2
FWM  7 rr
  -> 10.1.1.1:0                   Masq    1      0          0
"""


def test_a_listing_is_read() -> None:
    """Weights, counts, persistence and flags are read; services by firewall mark are somebody else's."""
    assert parse_list(LISTING) == (
        HeldServer(
            "TCP", "10.96.0.50", 80, "mh", 10800, frozenset({"mh-fallback", "mh-port"}),
            (HeldReal("10.244.1.10", 8080, 0, 3, 1),),
        ),
        HeldServer("UDP", "fd00:10:96::50", 53, "rr", reals=(HeldReal("fd00:10:244:1::10", 53, 1, 0, 2),)),
    )  # fmt: skip


def test_connections_are_read() -> None:
    """Templates of persistence are connections too; headings are not."""
    text = (
        "IPVS connection entries\npro expire state       source             virtual            destination\n"
        "TCP 14:59  ESTABLISHED 10.244.1.20:40000 10.96.0.50:80      10.244.1.10:8080\n"
    )
    line = text.splitlines()[2]
    expected = Connection("TCP", "14:59", "ESTABLISHED", "10.244.1.20:40000", "10.96.0.50:80", "10.244.1.10:8080")
    assert parse_connections(text) == (expected,)
    assert parse_connections(text)[0].line == line


@pytest.mark.parametrize("text", ["TCP", "nonsense", "  -> 10.0.0.1:80 Masq 1 0 0"])
def test_what_is_no_listing_is_refused(text: str) -> None:
    """The line's number is told."""
    with pytest.raises(UsageError, match="line 1 "):
        parse_list(text)
    with pytest.raises(UsageError, match="line 1 "):
        parse_save(text)
