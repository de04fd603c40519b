"""The iptables compiler where no dump of the real kube-proxy reaches: vectors, large clusters, options, reuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kplab.errors import UnknownNameError
from kplab.model.cluster import (
    Cluster,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Family,
    LoadBalancerIngress,
    Node,
    Service,
    ServicePort,
)
from kplab.model.config import ConntrackConfig, DetectLocal, IptablesConfig, ProxyConfig
from kplab.model.synthetic import large_cluster
from kplab.modes.changes import changed_services, udp_changed
from kplab.modes.facts import NodeFacts
from kplab.modes.iptables import LARGE_CLUSTER_ENDPOINTS, compile_iptables
from kplab.modes.program import IptablesProgram
from kplab.modes.registry import compiler, known_modes

pytestmark = pytest.mark.unit

WEB = Service(
    "default", "web", "NodePort", ("10.96.0.41",), (ServicePort(80, "TCP", "http", 8080, 30080),)
)  # fmt: skip
WEB_SLICE = EndpointSlice(
    "default",
    "web-x1",
    "web",
    ports=(EndpointPort(8080, "TCP", "http"),),
    endpoints=(Endpoint(("10.244.1.11",), "n2", ready=True), Endpoint(("10.244.0.10",), "n1", ready=True)),
)
N1 = Node("n1", ("192.168.0.1", "fd00:192::1"), ("10.244.0.0/24", "fd00:10:244::/64"))
CLUSTER = Cluster((WEB,), (WEB_SLICE,), (N1,))
CONFIG = ProxyConfig(cluster_cidrs=("10.244.0.0/16",))
FACTS = NodeFacts(addresses=("127.0.0.1", "192.168.0.1", "192.168.0.9", "::1", "fd00:192::1"))


def program(
    cluster: Cluster = CLUSTER, config: ProxyConfig = CONFIG, family: Family = 4, facts: NodeFacts = FACTS
) -> IptablesProgram:
    """Compile for node n1."""
    return compile_iptables(cluster, config, "n1", family, facts)


def rules(compiled: IptablesProgram, word: str = "") -> list[str]:
    """Every rule of a program in which a word occurs."""
    return [line for line in compiled.text().splitlines() if line.startswith("-A") and word in line]


def test_a_node_port_service_word_for_word() -> None:
    """The service port's part of nat, in the order in which kube-proxy writes it."""
    svc, ext = "KUBE-SVC-CDGGSHYLG3RE2FKL", "KUBE-EXT-CDGGSHYLG3RE2FKL"
    one, two = "KUBE-SEP-3MRQQDVYO2GBIBDV", "KUBE-SEP-ELX6N4Z5RGB67TLC"
    name = "default/web:http"
    local = "-d 127.0.0.0/8 --dport 30080 -m nfacct --nfacct-name localhost_nps_accepted_pkts"
    assert rules(program(), "default/web") + rules(program(), f"{ext} -j") == [
        f'-A KUBE-SERVICES -m comment --comment "{name} cluster IP" -m tcp -p tcp -d 10.96.0.41 --dport 80 -j {svc}',
        f"-A KUBE-NODEPORTS -m comment --comment {name} -m tcp -p tcp {local} -j {ext}",
        f"-A KUBE-NODEPORTS -m comment --comment {name} -m tcp -p tcp --dport 30080 -j {ext}",
        f'-A {svc} -m comment --comment "{name} cluster IP" -m tcp -p tcp -d 10.96.0.41 --dport 80 '
        "! -s 10.244.0.0/16 -j KUBE-MARK-MASQ",
        f'-A {ext} -m comment --comment "masquerade traffic for {name} external destinations" -j KUBE-MARK-MASQ',
        f'-A {svc} -m comment --comment "{name} -> 10.244.0.10:8080" '
        f"-m statistic --mode random --probability 0.5000000000 -j {one}",
        f'-A {svc} -m comment --comment "{name} -> 10.244.1.11:8080" -j {two}',
        f"-A {one} -m comment --comment {name} -s 10.244.0.10 -j KUBE-MARK-MASQ",
        f"-A {one} -m comment --comment {name} -m tcp -p tcp -j DNAT --to-destination 10.244.0.10:8080",
        f"-A {two} -m comment --comment {name} -s 10.244.1.11 -j KUBE-MARK-MASQ",
        f"-A {two} -m comment --comment {name} -m tcp -p tcp -j DNAT --to-destination 10.244.1.11:8080",
        f"-A {ext} -j {svc}",
    ]


def test_endpoints_are_ordered_as_text() -> None:
    """10.0.0.10:80 comes before 10.0.0.9:80."""
    piece = replace(WEB_SLICE, endpoints=(Endpoint(("10.0.0.9",)), Endpoint(("10.0.0.10",))))
    found = rules(program(replace(CLUSTER, endpoint_slices=(piece,))), " -> ")
    assert [line.split(" -> ")[1].split('"')[0] for line in found] == ["10.0.0.10:8080", "10.0.0.9:8080"]


def test_a_large_cluster_has_no_comments_at_its_endpoints() -> None:
    """Above 1,000 endpoints (not at 1,000) the comments of SVC-to-SEP and SEP rules go; the others stay."""
    small, large = large_cluster(LARGE_CLUSTER_ENDPOINTS // 4, 4), large_cluster(LARGE_CLUSTER_ENDPOINTS // 4 + 1, 4)
    assert len(rules(program(small), " -> ")) == LARGE_CLUSTER_ENDPOINTS
    compiled = program(large)
    assert compiled.endpoints == LARGE_CLUSTER_ENDPOINTS + 4
    assert not rules(compiled, " -> ")
    assert not [line for line in rules(compiled, "KUBE-SEP-") if "--comment" in line]
    assert len(rules(compiled, "cluster IP")) == 2 * (LARGE_CLUSTER_ENDPOINTS // 4 + 1)


def test_all_endpoints_count_towards_a_large_cluster() -> None:
    """Those that are not ready count too."""
    cluster = large_cluster(251, 4)
    slices = tuple(
        replace(piece, endpoints=tuple(replace(e, ready=False, serving=False) for e in piece.endpoints))
        for piece in cluster.endpoint_slices
    )
    assert program(replace(cluster, endpoint_slices=slices)).endpoints == 1004


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (CONFIG, "! -s 10.244.0.0/16"),
        (ProxyConfig(detect_local_mode="NodeCIDR"), "! -s 10.244.0.0/24"),
        (ProxyConfig(detect_local_mode="BridgeInterface", detect_local=DetectLocal("cni0")), "! -i cni0"),
        (
            ProxyConfig(detect_local_mode="InterfaceNamePrefix", detect_local=DetectLocal("", "veth")),
            "! -i veth+",
        ),
        (replace(CONFIG, iptables=IptablesConfig(masquerade_all=True)), "--dport 80 -j KUBE-MARK-MASQ"),
    ],
)
def test_what_counts_as_local_is_configured(config: ProxyConfig, match: str) -> None:
    """The first rule of the ClusterIP's chain masquerades what is not local."""
    found = [line for line in rules(program(config=config), "cluster IP") if "KUBE-MARK-MASQ" in line]
    assert len(found) == 1
    assert f"{match} -j KUBE-MARK-MASQ" in found[0] or found[0].endswith(match)


def test_without_a_detector_the_rule_is_not_written() -> None:
    """No clusterCIDR, or none of this family, or a Node without podCIDRs."""
    unknown = ProxyConfig(detect_local_mode="NodeCIDR")
    for compiled in (program(config=ProxyConfig()), program(replace(CLUSTER, nodes=()), unknown)):
        assert not [line for line in rules(compiled, "cluster IP") if "KUBE-MARK-MASQ" in line]


def test_the_masquerade_bit_and_the_machines_abilities_show() -> None:
    """Mark, --random-fully, nfacct counters, and the rule for INVALID packets."""
    config = replace(CONFIG, iptables=IptablesConfig(masquerade_bit=15))
    assert len(rules(program(config=config), "0x00008000")) == 4
    bare = program(facts=replace(FACTS, random_fully=False, nfacct=False))
    assert not rules(bare, "nfacct")
    assert rules(bare, "MASQUERADE")[0].endswith("-j MASQUERADE")
    assert rules(bare, "INVALID") == ["-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP"]
    assert not rules(program(facts=replace(FACTS, tcp_be_liberal=True)), "INVALID")
    assert not rules(program(config=replace(CONFIG, conntrack=ConntrackConfig(tcp_be_liberal=True))), "INVALID")


def last_matches(config: ProxyConfig, family: Family = 4) -> list[str]:
    """What the last rules of KUBE-SERVICES match on."""
    found = rules(program(config=config, family=family), "this must be the last rule")
    return [line.split('chain" ')[1].removesuffix(" -j KUBE-NODEPORTS") for line in found]


def test_node_ports_answer_where_they_are_told_to() -> None:
    """nodePortAddresses, "primary", and localhost."""
    quiet = replace(CONFIG, iptables=IptablesConfig(localhost_node_ports=False))
    ranges = replace(CONFIG, node_port_addresses=("192.168.0.8/29", "127.0.0.0/8"))
    assert last_matches(CONFIG) == ["-m addrtype --dst-type LOCAL"]
    assert last_matches(CONFIG, 6) == ["-m addrtype --dst-type LOCAL ! -d ::1/128"]
    assert last_matches(quiet) == ["-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8"]
    assert last_matches(ranges) == ["-d 127.0.0.1", "-d 192.168.0.9"]
    assert last_matches(replace(ranges, iptables=quiet.iptables)) == ["-d 192.168.0.9"]
    assert last_matches(ranges, 6) == ["-m addrtype --dst-type LOCAL ! -d ::1/128"]
    assert last_matches(replace(CONFIG, node_port_addresses=("primary",))) == ["-d 192.168.0.1"]
    assert last_matches(replace(CONFIG, node_port_addresses=("primary",)), 6) == ["-d fd00:192::1"]
    assert last_matches(replace(CONFIG, node_port_addresses=("::/0",)), 6)[0].startswith("-m addrtype")


def test_localhost_rules_go_with_localhost_node_ports() -> None:
    """Without them there is neither KUBE-FIREWALL nor the counter for localhost; IPv6 never has them."""
    off = replace(CONFIG, iptables=IptablesConfig(localhost_node_ports=False))
    elsewhere = replace(CONFIG, node_port_addresses=("192.168.0.0/24",))
    assert rules(program(), "KUBE-FIREWALL")
    for compiled in (program(config=off), program(config=elsewhere), program(family=6)):
        assert ":KUBE-FIREWALL" not in compiled.text()
        assert not rules(compiled, "localhost_nps_accepted_pkts")


def test_a_bind_address_is_the_nodes_own_address() -> None:
    """Source ranges that contain it let the load balancer's address through as a source."""
    service = replace(
        WEB,
        type="LoadBalancer",
        load_balancer_ingress=(LoadBalancerIngress("203.0.113.9"), LoadBalancerIngress("203.0.113.8", None, "Proxy")),
        load_balancer_source_ranges=("172.16.0.0/12",),
    )
    cluster = replace(CLUSTER, services=(service,))
    assert not rules(program(cluster), "-s 203.0.113.9")
    assert len(rules(program(cluster, replace(CONFIG, bind_address="172.16.0.5")), "-s 203.0.113.9")) == 1
    assert not rules(program(cluster), "203.0.113.8")


def test_a_partial_sync_writes_changed_services_whole() -> None:
    """By Service or by service port; what is in shared chains is always written; stale chains go."""
    admin = ServicePort(81, "TCP", "admin", 8081)
    other = replace(
        WEB, name="api", type="ClusterIP", cluster_ips=("10.96.0.43",), ports=(ServicePort(80, "TCP", "http"),)
    )
    both = replace(WEB, ports=(*WEB.ports, admin))
    slices = (
        replace(WEB_SLICE, ports=(*WEB_SLICE.ports, EndpointPort(8081, "TCP", "admin"))),
        replace(WEB_SLICE, name="api-x1", service_name="api"),
    )
    compiled = program(replace(CLUSTER, services=(both, other), endpoint_slices=slices))
    whole = compiled.text(changed={"default/web"}).splitlines()
    part = compiled.text(changed={"default/web:admin"}).splitlines()
    none = compiled.text(changed=(), stale=["KUBE-SEP-B", "KUBE-SEP-A"]).splitlines()
    assert {line.split('"')[1].split(" ")[0] for line in whole if " -> " in line} == {
        "default/web:http",
        "default/web:admin",
    }
    assert {line.split('"')[1].split(" ")[0] for line in part if " -> " in line} == {"default/web:admin"}
    assert sum("cluster IP" in line and "KUBE-SERVICES" in line for line in none) == 3
    assert not [line for line in none if " -> " in line]
    assert none[-4:-2] == ["-X KUBE-SEP-A", "-X KUBE-SEP-B"]
    assert none[-2].endswith("-j KUBE-NODEPORTS")
    assert ":KUBE-SEP-A - [0:0]" in none


def test_compiling_from_the_last_program_changes_nothing_but_time() -> None:
    """Unchanged service ports keep their very rules; changed ones, and other settings, are compiled anew."""
    before = large_cluster(40, 3)
    first = program(before)
    piece = before.endpoint_slices[7]
    slices = list(before.endpoint_slices)
    slices[7] = replace(piece, endpoints=piece.endpoints[1:])
    after = replace(before, endpoint_slices=tuple(slices))
    again = compile_iptables(after, CONFIG, "n1", 4, FACTS, first)
    assert again.text() == program(after).text()
    assert sum(a is b for a, b in zip(first.blocks, again.blocks, strict=True)) == 39
    other = replace(CONFIG, iptables=IptablesConfig(masquerade_all=True))
    moved = compile_iptables(after, other, "n1", 4, FACTS, first)
    assert moved.text() == program(after, other).text()


def test_changes_are_counted_by_service_and_family() -> None:
    """A change of an IPv4 slice says nothing to IPv6; what rules do not depend on is no change."""
    slimmer = replace(CLUSTER, endpoint_slices=(replace(WEB_SLICE, endpoints=WEB_SLICE.endpoints[:1]),))
    assert changed_services(CLUSTER, slimmer, 4) == {"default/web"}
    assert changed_services(CLUSTER, slimmer, 6) == set()
    assert changed_services(CLUSTER, replace(CLUSTER, services=()), 4) == {"default/web"}
    relabelled = replace(CLUSTER, services=(replace(WEB, labels=(("a", "b"),)),), nodes=())
    assert changed_services(CLUSTER, relabelled, 4) == set()
    handed_over = replace(WEB, labels=(("service.kubernetes.io/service-proxy-name", "other"),))
    assert changed_services(CLUSTER, replace(CLUSTER, services=(handed_over,)), 4) == {"default/web"}


def test_only_udp_asks_for_stale_flows() -> None:
    """kube-proxy looks for stale conntrack entries after changes of UDP Services only."""
    dns = replace(WEB, name="dns", cluster_ips=("10.96.0.10",), ports=(ServicePort(53, "UDP"),))
    cluster = replace(CLUSTER, services=(WEB, dns))
    assert udp_changed(cluster, cluster, {"default/dns"})
    assert not udp_changed(cluster, cluster, {"default/web"})


@pytest.mark.parametrize("mode", ["iptable", "magic", ""])
def test_an_unknown_mode_is_answered_with_those_that_work(mode: str) -> None:
    """The message quotes what was typed, and lists every mode."""
    with pytest.raises(UnknownNameError) as caught:
        compiler(mode)
    assert all(name in caught.value.hint for name in known_modes())
    assert repr(mode) in str(caught.value)
    assert compiler("iptables") is compile_iptables
