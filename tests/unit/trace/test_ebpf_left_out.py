"""What eBPF mode leaves out is said by the journey: here, a Service's IPv6 address."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.model.journey import Flow
from kplab.trace.explain_ebpf import in_ipv6
from kplab.trace.tell_ebpf import is_service_v6

pytestmark = pytest.mark.unit

MANIFEST = (Path(__file__).parents[3] / "lessons" / "cluster.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("destination", "proto", "is_one"),
    [
        ("[fd00:10:96::42]:80", "tcp", True),
        ("[fd00:10:96::42]:80", "udp", False),
        ("[fd00:10:96::42]:81", "tcp", False),
        ("[fd00:10:244:1::10]:8080", "tcp", False),
        ("10.96.0.42:80", "tcp", False),
        ("[fd00:10:96::42]:*", "tcp", False),
    ],
)
def test_a_services_ipv6_address_is_known_from_the_manifest(destination: str, proto: str, *, is_one: bool) -> None:
    """Address, port and protocol all count; IPv4 has maps of its own."""
    flow = Flow("[fd00:10:244:1::5]:4000", destination, proto)

    assert is_service_v6(MANIFEST, flow) is is_one
    assert not is_service_v6("", flow)
    assert not is_service_v6("kind: {", flow)


def test_the_sentence_says_what_there_is_not_and_how_to_see_it() -> None:
    """The calls, the maps, and a command."""
    said = in_ipv6("[fd00:10:96::42]:80")

    for part in ("connect6", "cilium_lb6", "bpftool link"):
        assert part in said
