"""What iptables mode would have tried: equal to what it did try, where it was recorded."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kplab.model.journey import IpvsChoice, Lookup
from kplab.scene.frame import Asked
from kplab.scene.instead import Frontend, Instead, IptablesMode, frontend_of
from kplab.scene.lookups import key_fields
from kplab.trace.file import read_trace
from kplab.trace.journey import tell

pytestmark = pytest.mark.unit

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"
KEY = "ip daddr . meta l4proto . th dport = {} . {} . {}"


def asked(name: str, key: str, element: str | None = "x") -> Asked:
    """Return a lookup."""
    return Asked("node-a", Lookup(name, key, element, 9), key_fields(key, name), None, here=True)


@pytest.mark.parametrize("name", ["lab-nft-curl", "lab-nft-hairpin", "lab-legacy-udp", "lab-nft-ipv6"])
def test_it_is_what_iptables_mode_tried(name: str) -> None:
    """The rules that the recorded packet tried in KUBE-SERVICES, counted by the walk, and our own count."""
    recording = read_trace(RECORDINGS / f"{name}.kptrace")
    hop = next(
        hop
        for hop in tell(recording).hops
        if (hop.table, hop.chain, hop.kind) == ("nat", "KUBE-SERVICES", "rule") and "-d" in (hop.rule or "")
    )
    address, _, port = hop.before.dst.rpartition(":")

    found = IptablesMode(recording).instead_of(
        asked("service-ips", KEY.format(address.strip("[]"), hop.before.proto, port))
    )

    assert found is not None
    assert (found.tried, found.chain) == (hop.tried, "KUBE-SERVICES")


def test_a_node_port_is_found_after_the_whole_list() -> None:
    """KUBE-NODEPORTS is the last rule of KUBE-SERVICES."""
    mode = IptablesMode(read_trace(RECORDINGS / "lab-nft-curl.kptrace"))

    found = mode.instead_of(asked("service-nodeports", "meta l4proto . th dport = tcp . 30030"))

    assert found is not None
    assert (found.chain, found.tried > found.held) == ("KUBE-NODEPORTS", True)
    assert mode.instead_of(asked("service-nodeports", "meta l4proto . th dport = tcp . 1")) is None
    assert mode.instead_of(asked("cluster-ips", "ip daddr = 10.96.0.42")) is None


def test_what_was_asked_for_is_read_from_every_kind_of_lookup() -> None:
    """The map of an nftables mode, a BPF map's frontend, IPVS's virtual server; a backend's slot is none."""
    choice = IpvsChoice("TCP [fd00::1]:80", "rr", (), "[fd00::2]:8080")
    slot = "address 10.96.0.42, dport 80, backend_slot {}, proto TCP"

    assert frontend_of(Asked("node-a", None, (), choice, here=True)) == Frontend("fd00::1", "tcp", "80")
    found = frontend_of(asked("cilium_lb4_services_v2", slot.format(0)))
    assert found == Frontend("10.96.0.42", "tcp", "80")
    wild = frontend_of(asked("cilium_lb4_services_v2", "address 0.0.0.0, dport 30030, backend_slot 0, proto TCP"))
    assert wild == Frontend("", "tcp", "30030")
    assert frontend_of(asked("cilium_lb4_services_v2", slot.format(2))) is None
    assert frontend_of(asked("service-ips", KEY.format("10.0.0.1", "tcp", "80"), None)) is None


def test_without_a_manifest_nothing_is_said() -> None:
    """As in a recording of somebody's own machine; nor with one that cannot be read."""
    recording = read_trace(RECORDINGS / "lab-nft-curl.kptrace")
    question = asked("service-ips", KEY.format("10.96.0.42", "tcp", "80"))

    for manifest in ("", "kind: {"):
        assert IptablesMode(msgspec.structs.replace(recording, manifest=manifest)).instead_of(question) is None
    assert isinstance(IptablesMode(recording).instead_of(question), Instead)
