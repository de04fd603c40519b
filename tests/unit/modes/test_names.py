"""Names of chains: the ones that everybody's cluster has."""

from __future__ import annotations

from base64 import b32encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kplab.modes.names import endpoint_chain, endpoint_text, hash16, service_chain, service_port_name

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("owner", "protocol", "name"),
    [
        ("default/kubernetes:https", "tcp", "KUBE-SVC-NPX46M4PTMTKRN6Y"),
        ("kube-system/kube-dns:dns", "udp", "KUBE-SVC-TCOU7JCQXEZGVUNU"),
        ("kube-system/kube-dns:dns-tcp", "TCP", "KUBE-SVC-ERIFXISQEP7F7OF4"),
        ("kube-system/kube-dns:metrics", "tcp", "KUBE-SVC-JD5MR3NA4I4DYORP"),
        ("ns1/svc1:p80", "tcp", "KUBE-SVC-XPGD46QRK7WJZT7O"),
        ("default/nginx", "tcp", "KUBE-SVC-2CMXP7HKUVJN7L6M"),
    ],
)
def test_service_chains_have_their_well_known_names(owner: str, protocol: str, name: str) -> None:
    """The name depends on namespace, name, port name and protocol, and on nothing else."""
    assert service_chain("KUBE-SVC-", owner, protocol) == name


def test_an_endpoints_chain_hashes_its_address_too() -> None:
    """The well-known vector, and the spelling of IPv6 endpoints."""
    assert endpoint_chain("ns1/svc1:p80", "tcp", "10.180.0.1:80") == "KUBE-SEP-SXIVWICOYRO3J4NJ"
    assert endpoint_text("10.180.0.1", 80) == "10.180.0.1:80"
    assert endpoint_text("fd00::1", 80) == "[fd00::1]:80"


def test_a_port_without_a_name_leaves_no_colon() -> None:
    """The printed name of a service port."""
    assert service_port_name("default", "web", "http") == "default/web:http"
    assert service_port_name("default", "web", "") == "default/web"


@given(st.text(st.characters(codec="utf-8")))
def test_the_hash_is_base32_of_sha256(text: str) -> None:
    """Our quick way gives what the library's slow way gives."""
    assert hash16(text) == b32encode(sha256(text.encode()).digest()).decode()[:16]
