"""What eBPF mode's maps hold: keys, values, ids that stay, and the text that bpftool would print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kplab.model import bpf_maps as layout
from kplab.model.cluster import Cluster
from kplab.model.loader import load_cluster
from kplab.modes.ebpf import EbpfProgram, Frontend, compile_ebpf

pytestmark = pytest.mark.unit

CLUSTER = Path(__file__).parents[3] / "lessons" / "cluster.yaml"


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """Return the lab's own cluster."""
    return load_cluster(CLUSTER)


def table(program: EbpfProgram, name: str) -> dict[bytes, bytes]:
    """Return one map's content."""
    return dict(next(each.entries for each in program.maps if each.name == name))


def frontend(program: EbpfProgram, address: str, port: int, protocol: str = "TCP") -> Frontend:
    """Return the frontend of one address."""
    key = layout.ServiceKey(address, port, protocol)
    return next(each for each in program.frontends if each.key == key)


def test_a_frontend_has_a_slot_for_each_backend(cluster: Cluster) -> None:
    """Slot 0 counts, slots 1 to 3 each name a backend, and the backend has the pod's address: bytes as Cilium's."""
    program = compile_ebpf(cluster, "node-a")
    services, backends = table(program, layout.SERVICES), table(program, layout.BACKENDS)
    head = services[bytes.fromhex("0a60002a 0050 0000 06 00 0000")]
    assert head[4:6] == b"\x03\x00"
    addresses = set()
    for slot in (1, 2, 3):
        value = services[layout.ServiceKey("10.96.0.42", 80, "TCP", slot).pack()]
        assert value[6:8] == head[6:8]
        addresses.add(backends[value[:4]])
    tail = "1f90 06 00 0000 00 00"
    pods = ("0af4010a", "0af4010b", "0af4020a")
    assert addresses == {bytes.fromhex(f"{pod} {tail}") for pod in pods}
    assert layout.ServiceKey("10.96.0.42", 80, "TCP", 4).pack() not in services


def test_the_index_of_a_frontend_leads_back_to_its_address(cluster: Cluster) -> None:
    """rev_nat_index stands in network order in the frontend's value, and is the key of cilium_lb4_reverse_nat."""
    program = compile_ebpf(cluster, "node-a")
    head = table(program, layout.SERVICES)[layout.ServiceKey("10.96.0.42", 80, "TCP").pack()]
    assert table(program, layout.REVERSE_NAT)[head[6:8]] == bytes.fromhex("0a60002a 0050")


def test_an_internal_policy_of_local_leaves_the_nodes_own_pods(cluster: Cluster) -> None:
    """The Service `status` has three endpoints, two of them on node-a and one on node-b."""
    on_a = frontend(compile_ebpf(cluster, "node-a"), "10.96.0.33", 80)
    on_b = frontend(compile_ebpf(cluster, "node-b"), "10.96.0.33", 80)
    assert [len(on_a.backends), len(on_b.backends)] == [2, 1]


def test_an_external_policy_of_local_does_not_bind_clients_inside(cluster: Cluster) -> None:
    """Only sockets of the node and its pods ask these maps: a NodePort has all endpoints for them."""
    found = frontend(compile_ebpf(cluster, "node-b"), "0.0.0.0", 30031)
    assert len(found.backends) == 3


def test_a_nodeport_stands_under_the_wildcard_and_the_nodes_own_address(cluster: Cluster) -> None:
    """Other nodes' addresses are found by way of the wildcard; a map names them."""
    program = compile_ebpf(cluster, "node-a")
    addresses = {each.key.address for each in program.frontends if each.key.port == 30080}
    assert addresses == {"0.0.0.0", "192.168.50.10"}
    assert set(table(program, layout.NODE_IPS)) == {bytes.fromhex("c0a8320a"), bytes.fromhex("c0a8320b")}


def test_affinity_stands_in_slot_0_and_in_the_match_map(cluster: Cluster) -> None:
    """Seconds in the low 24 bits, a flag, and one element for each pair of backend and frontend."""
    program = compile_ebpf(cluster, "node-a")
    key = layout.ServiceKey("10.96.0.55", 80, "TCP")
    value = table(program, layout.SERVICES)[key.pack()]
    assert int.from_bytes(value[:3], "little") == 10800
    assert value[8] & layout.FLAG_AFFINITY
    pairs = {(key[:4], key[4:6]) for key in table(program, layout.AFFINITY_MATCH)}
    assert pairs == {
        (layout.pack_backend_id(program.backend_ids[n]), value[6:8])
        for n in frontend(program, "10.96.0.55", 80).backends
    }


def test_a_service_without_endpoints_has_a_frontend_with_a_count_of_0(cluster: Cluster) -> None:
    """So the lookup hits, and the program knows that nobody is there."""
    value = table(compile_ebpf(cluster, "node-a"), layout.SERVICES)[layout.ServiceKey("10.96.0.66", 80, "TCP").pack()]
    assert layout.describe_value(layout.SERVICES, bytes(12), value).startswith("count 0, ")


def test_ids_stay_when_others_go_and_come(cluster: Cluster) -> None:
    """A later state keeps the id of every backend and frontend that it still has; freed ids are given again."""
    first = compile_ebpf(cluster, "node-a")
    fewer = replace(cluster, services=tuple(s for s in cluster.services if s.name != "api"))
    second = compile_ebpf(fewer, "node-a", first)
    assert second.backend_ids == {name: first.backend_ids[name] for name in second.backend_ids}
    assert second.rev_nat_ids == {key: first.rev_nat_ids[key] for key in second.rev_nat_ids}
    third = compile_ebpf(cluster, "node-a", second)
    assert len(set(third.backend_ids.values())) == len(third.backend_ids)
    assert max(third.backend_ids.values()) == len(third.backend_ids)


def test_ipv6_headless_and_externalname_services_have_no_frontend(cluster: Cluster) -> None:
    """Every frontend is an IPv4 address with TCP or UDP."""
    program = compile_ebpf(cluster, "node-a")
    assert not [each for each in program.frontends if ":" in each.key.address]
    assert {"demo/db:postgres", "demo/web6:http"} & {each.owner for each in program.frontends} == set()


def test_the_text_is_bpftools_with_words_behind(cluster: Cluster) -> None:
    """Eight bytes, two spaces, the rest; a count at the end; behind # the fields by name."""
    lines = compile_ebpf(cluster, "node-a").text().splitlines()
    assert lines[0] == "# bpftool map dump pinned /run/kplab/bpf/node-a/cilium_lb4_services_v2"
    line = next(each for each in lines if each.startswith("key: 0a 60 00 2a 00 50 00 00  06 00 00 00  value: "))
    assert "  # address 10.96.0.42, dport 80, backend_slot 0, proto TCP -> count 3, rev_nat_index " in line
    assert "Found 92 elements" in lines
