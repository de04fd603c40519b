"""The names of the chains that kube-proxy makes: a prefix and a hash of what the chain is for.

`KUBE-SVC-` + the first 16 characters of base32(sha256("ns/name:port" + "tcp")); for an endpoint the text
"10.244.1.10:8080" is appended before hashing (pkg/proxy/iptables/proxier.go, `portProtoHash`). A name
depends on nothing else, so it is the same on every node and after every restart.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Literal

from kplab.model.cluster import Family

ServicePrefix = Literal["KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-"]

OWN_PREFIXES = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-")
"""A nat chain with one of these is kube-proxy's; one that no rule uses any more is stale and deleted."""

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


def hash16(text: str) -> str:
    """Return the first 16 characters of base32(sha256(text)): 80 bits, in eight steps of ten."""
    n = int.from_bytes(sha256(text.encode()).digest()[:10])
    p = _PAIRS
    return (
        p[n >> 70] + p[n >> 60 & 1023] + p[n >> 50 & 1023] + p[n >> 40 & 1023]
        + p[n >> 30 & 1023] + p[n >> 20 & 1023] + p[n >> 10 & 1023] + p[n & 1023]
    )  # fmt: skip


def hash8(text: str) -> str:
    """Return the first 8 characters of base32(sha256(text)): 40 bits."""
    n = int.from_bytes(sha256(text.encode()).digest()[:5])
    p = _PAIRS
    return p[n >> 30] + p[n >> 20 & 1023] + p[n >> 10 & 1023] + p[n & 1023]


def service_port_name(namespace: str, name: str, port_name: str) -> str:
    """Return kube-proxy's name of a service port: "ns/name:port", or "ns/name" when the port has no name."""
    return f"{namespace}/{name}:{port_name}" if port_name else f"{namespace}/{name}"


def service_chain(prefix: ServicePrefix, owner: str, protocol: str) -> str:
    """Return the name of a service port's chain; `owner` is a `service_port_name`, `protocol` is "tcp" or "TCP"."""
    return prefix + hash16(owner + protocol.lower())


def endpoint_chain(owner: str, protocol: str, endpoint: str) -> str:
    """Return the name of an endpoint's chain; `endpoint` is `endpoint_text`'s."""
    return "KUBE-SEP-" + hash16(owner + protocol.lower() + endpoint)


def endpoint_text(ip: str, port: int) -> str:
    """Return "10.244.1.10:8080", "[fd00::1]:8080"."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def family_of(address: str) -> Family:
    """Return the family of an address or a CIDR in canonical text."""
    return 6 if ":" in address else 4
