"""The names that kube-proxy gives in its nftables table: readable, with a hash in front.

"ULMVA6XW-ns1/svc1/tcp/p80", and for an endpoint "5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80": eight characters of
base32(sha256(the rest)), then the rest (pkg/proxy/nftables/proxier.go, `hashAndTruncate`). A prefix says what it
is: `service-`, `local-`, `external-`, `firewall-`, `endpoint-`, `affinity-`.
"""

from __future__ import annotations

from collections.abc import Iterable

from kplab.modes.endpoints import PortKey
from kplab.modes.names import hash8

LONGEST_BASE = 240
"""nft allows 256 characters; 16 are kept for the longest prefix."""

AFFINITY_PREFIX = "affinity-"
"""Sets with this prefix are kube-proxy's; one that no rule uses any more is stale."""


def service_base(key: PortKey) -> str:
    """Return the base of a service port's names."""
    return _hashed(service_path(key))


def service_path(key: PortKey) -> str:
    """Return "ns/name/proto/port", the text that is hashed; an unnamed port leaves its slash."""
    return f"{key.namespace}/{key.service}/{key.protocol.lower()}/{key.port_name}"


def endpoint_base(path: str, ip: str, port: int) -> str:
    """Return the base of an endpoint's names; `path` is its service port's, and IPv6's colons become dots."""
    return _hashed(f"{path}__{ip.replace(':', '.')}/{port}")


def own_chains(names: Iterable[str]) -> frozenset[str]:
    """Return those chains that belong to a Service: the fixed ones have no slash."""
    return frozenset(name for name in names if "/" in name)


def own_sets(names: Iterable[str]) -> frozenset[str]:
    """Return those sets that remember clients."""
    return frozenset(name for name in names if name.startswith(AFFINITY_PREFIX))


def _hashed(text: str) -> str:
    name = f"{hash8(text)}-{text}"
    return name if len(name) <= LONGEST_BASE else name[: LONGEST_BASE - 3] + "..."
