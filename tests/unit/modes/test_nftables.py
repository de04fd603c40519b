"""The nftables compiler where no dump of the real kube-proxy reaches: vectors, options, and ways between states."""

from __future__ import annotations

from dataclasses import replace

import pytest

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
from kplab.model.config import DetectLocal, NftablesConfig, ProxyConfig
from kplab.model.synthetic import large_cluster
from kplab.modes.endpoints import PortKey
from kplab.modes.facts import NodeFacts
from kplab.modes.nft_objects import NftElement
from kplab.modes.nft_program import NftablesProgram, deletion, difference
from kplab.modes.nft_writing import NftHeld
from kplab.modes.nftables import compile_nftables
from kplab.modes.nftables_names import endpoint_base, own_chains, own_sets, service_base, service_path
from kplab.modes.registry import compiler
from tests.unit.modes.golden import FACTS as GOLDEN_FACTS
from tests.unit.modes.golden import FAMILIES, NODE, SCENARIOS, STEPS, config_of, state
from tests.unit.modes.nft_table import Table

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
STICKY = replace(CLUSTER, services=(replace(WEB, session_affinity="ClientIP"),))
CONFIG = ProxyConfig(cluster_cidrs=("10.244.0.0/16",))
FACTS = NodeFacts(addresses=("127.0.0.1", "192.168.0.1", "192.168.0.9", "::1", "fd00:192::1"))
STATES = [(scenario, "manifest") for scenario in SCENARIOS] + STEPS
BASE = "SUSTUHLJ-default/web/tcp/http"


def program(
    cluster: Cluster = CLUSTER, config: ProxyConfig = CONFIG, family: Family = 4, facts: NodeFacts = FACTS
) -> NftablesProgram:
    """Compile for node n1."""
    return compile_nftables(cluster, config, "n1", family, facts)


def lines(compiled: NftablesProgram, word: str = "") -> list[str]:
    """Every line of a first sync in which a word occurs, without the table's name."""
    return [line.replace(" ip kube-proxy", "") for line in compiled.text().splitlines() if word in line]


def service_lines(compiled: NftablesProgram) -> list[str]:
    """What a first sync writes for Services."""
    return lines(compiled)[len(lines(replace(compiled, blocks=()))) :]


def test_a_node_port_service_word_for_word() -> None:
    """The service port's part, in the order in which kube-proxy writes it."""
    assert service_lines(program()) == [
        "add element hairpin-connections { 10.244.0.10 . 10.244.0.10 . tcp . 8080 }",
        f"add chain service-{BASE}",
        f"flush chain service-{BASE}",
        f"add chain external-{BASE}",
        f"flush chain external-{BASE}",
        "add element cluster-ips { 10.96.0.41 }",
        f"add element service-ips {{ 10.96.0.41 . tcp . 80 : goto service-{BASE} }}",
        f"add element service-nodeports {{ tcp . 30080 : goto external-{BASE} }}",
        f'add rule external-{BASE} mark set mark or 0x00004000 comment "masquerade"',
        f"add rule external-{BASE} goto service-{BASE}",
        f"add rule service-{BASE} meta l4proto tcp dnat ip addr . port to numgen random mod 2 map "
        "{ 0 : 10.244.0.10 . 8080 , 1 : 10.244.1.11 . 8080 }",
    ]


def test_names_are_hashes_and_words() -> None:
    """Eight characters of base32(sha256), then what was hashed; an unnamed port leaves its slash."""
    assert service_base(PortKey("ns1", "svc1", "p80", "TCP")) == "ULMVA6XW-ns1/svc1/tcp/p80"
    assert service_base(PortKey("default", "nginx", "", "TCP")) == "ECO34HEO-default/nginx/tcp/"
    path = service_path(PortKey("ns1", "svc1", "p80", "TCP"))
    assert endpoint_base(path, "10.180.0.1", 80) == "5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80"
    path = service_path(PortKey("default", "web", "http", "TCP"))
    assert endpoint_base(path, "10.244.1.11", 8080) == "7FUMELAF-default/web/tcp/http__10.244.1.11/8080"


def test_long_names_are_cut() -> None:
    """A base has at most 240 characters, so that a prefix fits before it; colons become dots."""
    path = service_path(PortKey("n" * 63, "s" * 63, "p" * 63, "SCTP"))
    address = "fd00:1111:2222:3333:4444:5555:6666:7777"
    cut = endpoint_base(path, address, 65535)
    assert len(cut) == 240
    assert cut[9:] == f"{path}__{address.replace(':', '.')}/65535"[:228] + "..."
    assert ":" not in endpoint_base("a/b/tcp/", "fd00::1", 80)
    assert len(service_base(PortKey("n" * 63, "s" * 63, "p" * 63, "SCTP"))) <= 240


def test_a_sticky_service_has_endpoint_chains() -> None:
    """Clients that are remembered come first, then chance; each endpoint's chain notes the client."""
    written = service_lines(program(STICKY))
    one, two = "3SIRFEN2-default/web/tcp/http__10.244.0.10/8080", "7FUMELAF-default/web/tcp/http__10.244.1.11/8080"
    assert [line for line in written if line.startswith("add set")] == [
        f"add set affinity-{base} {{ type ipv4_addr ; flags dynamic,timeout ; timeout 10800s ; }}"
        for base in (one, two)
    ]
    assert [line for line in written if line.startswith(f"add rule service-{BASE}")] == [
        f"add rule service-{BASE} ip saddr @affinity-{one} goto endpoint-{one}",
        f"add rule service-{BASE} ip saddr @affinity-{two} goto endpoint-{two}",
        f"add rule service-{BASE} numgen random mod 2 vmap {{ 0 : goto endpoint-{one} , 1 : goto endpoint-{two} }}",
    ]
    assert written[-2:] == [
        f"add rule endpoint-{two} update @affinity-{two} {{ ip saddr }}",
        f"add rule endpoint-{two} meta l4proto tcp dnat to 10.244.1.11:8080",
    ]


def test_every_local_address_answers_where_all_are_asked_for() -> None:
    """NodePortAddresses of 0.0.0.0/0: no set of addresses; every local one answers but loopback."""
    compiled = program(config=replace(CONFIG, node_port_addresses=("0.0.0.0/0",)))
    assert "nodeport-ips" not in compiled.view().sets
    assert lines(compiled, "@service-nodeports") == [
        "add rule services fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports"
    ]


def test_node_ports_are_answered_on_the_nodes_own_address() -> None:
    """Nothing asked for means "primary"; loopback never answers, even when asked for."""
    assert set(program().view().elements["nodeport-ips"]) == {"192.168.0.1"}
    assert set(program(family=6).view().elements["nodeport-ips"]) == {"fd00:192::1"}
    asked = replace(CONFIG, node_port_addresses=("127.0.0.0/8", "192.168.0.0/24"))
    assert set(program(config=asked).view().elements["nodeport-ips"]) == {"192.168.0.1", "192.168.0.9"}


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (CONFIG, "ip saddr != 10.244.0.0/16 mark set mark or 0x00004000"),
        (ProxyConfig(detect_local_mode="NodeCIDR"), "ip saddr != 10.244.0.0/24 mark set mark or 0x00004000"),
        (
            ProxyConfig(detect_local_mode="InterfaceNamePrefix", detect_local=DetectLocal("", "veth")),
            "iifname != veth* mark set mark or 0x00004000",
        ),
        (replace(CONFIG, nftables=NftablesConfig(masquerade_bit=0)), "!= 10.244.0.0/16 mark set mark or 0x00000001"),
        (replace(CONFIG, nftables=NftablesConfig(masquerade_all=True)), "@cluster-ips mark set mark or 0x00004000"),
    ],
)
def test_who_is_masqueraded(config: ProxyConfig, match: str) -> None:
    """Every way to tell pods from others, the bit, and masqueradeAll, which looks at nobody."""
    [rule] = lines(program(config=config), "masquerade clusterIP") + lines(program(config=config), "masquerade all")
    assert match in rule


def test_nobody_is_masqueraded_without_a_detector() -> None:
    """No cluster CIDR: there is no rule."""
    assert not lines(program(config=ProxyConfig()), "clusterIP traffic")


def test_source_ranges_hold_without_endpoints() -> None:
    """The firewall's chain and element stand whether or not there are endpoints; refusal stands beside them."""
    service = replace(
        WEB,
        type="LoadBalancer",
        load_balancer_ingress=(LoadBalancerIngress("203.0.113.10"),),
        load_balancer_source_ranges=("198.51.100.0/24",),
    )
    view = program(replace(CLUSTER, services=(service,), endpoint_slices=())).view()
    assert set(view.elements["firewall-ips"]) == {"203.0.113.10 . tcp . 80"}
    assert [rule.text for rule in view.rules[f"firewall-{BASE}"]] == ["ip saddr != { 198.51.100.0/24 } drop"]
    assert set(view.elements["no-endpoint-services"]) == {"10.96.0.41 . tcp . 80", "203.0.113.10 . tcp . 80"}


def test_two_services_with_one_external_address() -> None:
    """The later by name has it; the element is written once, and passes to the other when the first goes."""
    shared = replace(WEB, type="ClusterIP", ports=(ServicePort(80, "TCP", "http"),), external_ips=("192.0.2.1",))
    twin = replace(shared, name="zeb", cluster_ips=("10.96.0.42",))
    slices = (WEB_SLICE, replace(WEB_SLICE, name="zeb-x1", service_name="zeb"))
    both = program(Cluster((shared, twin), slices, (N1,)))
    [element] = lines(both, "192.0.2.1 . tcp . 80")
    assert "default/zeb" in element
    alone = program(Cluster((shared,), slices, (N1,)))
    told = [line for line in difference(both, alone).lines if "192.0.2.1" in line]
    assert [line.split()[0] for line in told] == ["delete", "add"]
    assert "default/web" in told[1]


def held_by(table: Table) -> NftHeld:
    """What a listing of the table would tell a full sync."""
    elements = {(h, k): v.rpartition(" : ")[2] for h, e in table.sets.items() for k, v in e.items()}
    return NftHeld(elements, own_chains(table.chains), own_sets(table.sets))


def written(compiled: NftablesProgram) -> Table:
    """The table after a first sync."""
    table = Table()
    table.take(compiled.text())
    return table


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stride", [1, 7, 20])
def test_every_way_between_states_ends_in_the_same_table(family: Family, stride: int) -> None:
    """From any scenario's state to another's, by a difference or by a full sync over what is held: all is equal."""
    compiled = [
        compile_nftables(state(*which), config_of(which[0]), NODE, family, GOLDEN_FACTS) for which in STATES
    ]  # fmt: skip
    for i, before in enumerate(compiled):
        after = compiled[(i + stride) % len(compiled)]
        wanted, table = written(after), written(before)
        held = held_by(table)
        for done in (difference(before, after), after.transaction(held, first=True)):
            table = written(before)
            table.take(done.text())
            assert not table.loose_ends()
            assert set(done.stale) == {name for name in table.chains if name not in wanted.chains}
            table.take(deletion(family, done.stale).text())
            assert table == wanted


def test_the_same_program_leaves_nothing_to_send() -> None:
    """No change, no line; the text is empty."""
    assert difference(program(), program()).text() == ""
    assert difference(program(STICKY), program(STICKY)).lines == ()


def test_without_a_program_before_it_is_a_first_sync() -> None:
    """Base chains are made anew, and everything is written."""
    assert difference(None, program()).text() == program().text()


def test_other_settings_ask_for_a_full_sync_that_keeps_elements() -> None:
    """The fixed part is written anew, without deleting base chains; elements that are there are not sent again."""
    after = program(config=replace(CONFIG, nftables=NftablesConfig(masquerade_all=True)))
    done = difference(program(), after)
    assert done.lines[0] == 'add table ip kube-proxy { comment "rules for kube-proxy" ; }'
    assert not [line for line in done.lines if line.startswith(("delete", "add element ip kube-proxy service-ips"))]
    assert [line for line in done.lines if "masquerade all clusterIP traffic" in line]


def test_changed_services_are_rewritten_whole() -> None:
    """A Service that is called changed gets its chains written though they are equal; others' stay as they are."""
    other = replace(WEB, name="zeb", cluster_ips=("10.96.0.42",), ports=(ServicePort(81, "TCP", "http"),))
    slices = (WEB_SLICE, replace(WEB_SLICE, name="zeb-x1", service_name="zeb"))
    both = program(Cluster((WEB, other), slices, (N1,)))
    told = difference(both, both, changed={"default/zeb"}).lines
    assert [line.split()[:2] for line in told] == [["add", "chain"], ["flush", "chain"], ["add", "rule"]]
    assert all("default/zeb" in line for line in told)


def test_affinity_sets_go_at_once_and_chains_later() -> None:
    """Without affinity, sets that remembered clients are deleted; endpoint chains are emptied, and named as stale."""
    done = difference(program(STICKY), program())
    bases = ["3SIRFEN2-default/web/tcp/http__10.244.0.10/8080", "7FUMELAF-default/web/tcp/http__10.244.1.11/8080"]
    assert [line for line in done.lines if line.startswith("delete")] == [
        f"delete set ip kube-proxy affinity-{base}" for base in bases
    ]
    assert done.stale == tuple(f"endpoint-{base}" for base in bases)
    assert [line for line in done.lines if line.startswith("flush chain ip kube-proxy endpoint")] == [
        f"flush chain ip kube-proxy {name}" for name in done.stale
    ]
    assert deletion(4, done.stale).lines == tuple(f"delete chain ip kube-proxy {name}" for name in done.stale)


def test_chains_found_in_the_kernel_are_emptied_again_until_they_are_deleted() -> None:
    """What a listing shows counts, not what was written before; a stranger's names without a slash are left alone."""
    done = difference(program(), program(), chains=["services", "stranger", f"service-{BASE}", "local-OLD-a/b/tcp/"])
    assert done.lines == ("flush chain ip kube-proxy local-OLD-a/b/tcp/",)
    assert done.stale == ("local-OLD-a/b/tcp/",)


def test_leftovers_are_deleted_by_holder() -> None:
    """Elements that nothing wants go in kube-proxy's order of sets; those of the fixed part are not its concern."""
    held = NftHeld(
        {
            ("hairpin-connections", "10.0.0.1 . 10.0.0.1 . tcp . 80"): "",
            ("nodeport-ips", "192.168.0.77"): "",
            ("service-ips", "10.96.0.99 . tcp . 80"): "goto service-X",
            ("cluster-ips", "10.96.0.99"): "",
        }
    )
    told = [line for line in program().transaction(held, first=False).lines if line.startswith("delete element")]
    assert [line.split()[4] for line in told] == ["cluster-ips", "service-ips", "hairpin-connections"]


def test_a_program_before_changes_nothing() -> None:
    """With and without `previous` the same comes out, and blocks of what stayed are the same objects."""
    cluster = large_cluster(50, 4)
    slices = cluster.endpoint_slices
    fewer = replace(slices[7], endpoints=slices[7].endpoints[1:])
    later = replace(cluster, endpoint_slices=(*slices[:7], fewer, *slices[8:]))
    first = compile_nftables(cluster, CONFIG, "node-a", 4, FACTS)
    again = compile_nftables(later, CONFIG, "node-a", 4, FACTS, first)
    assert again == compile_nftables(later, CONFIG, "node-a", 4, FACTS)
    kept = [new is old for new, old in zip(again.blocks, first.blocks, strict=True)]
    assert kept.count(False) == 1
    told = difference(first, again).lines
    assert len(told) == 4
    assert told[-1].startswith("delete element ip kube-proxy hairpin-connections")


def test_other_settings_do_not_take_old_blocks() -> None:
    """A program compiled with another mark is of no use."""
    config = replace(CONFIG, nftables=NftablesConfig(masquerade_bit=15))
    after = compile_nftables(CLUSTER, config, "n1", 4, FACTS, program())
    assert after == program(config=config)
    assert lines(after, "0x00008000")


def test_the_registry_knows_the_mode() -> None:
    """`nftables` compiles with this compiler."""
    assert compiler("nftables") is compile_nftables


def test_elements_can_be_asked_for_by_key() -> None:
    """Some keys only, or all."""
    key = ("service-nodeports", "tcp . 30080")
    assert program().elements([key]) == {key: NftElement(*key, f"goto external-{BASE}")}
    assert len(program().elements()) == 4
