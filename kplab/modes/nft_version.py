"""Which nft kube-proxy takes."""

from __future__ import annotations

import re

OLDEST = (1, 0, 1)
"""The first nft that kube-proxy takes (pkg/proxy/nftables, getNFTablesInterface)."""
UPGRADE = "upgrade the package nftables, or use mode iptables"


def too_old(told: str) -> str:
    """Return what is wrong with the nft whose `nft --version` printed this; "" when kube-proxy would take it."""
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", told)
    version = tuple(int(part) for part in found.groups()) if found else ()
    if version >= OLDEST:
        return ""
    wanted = ".".join(map(str, OLDEST))
    return f"nftables mode wants version {wanted} or later, and this is {told.strip() or 'unknown'}"
