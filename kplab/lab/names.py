"""Names of namespaces and interfaces: short enough for the kernel, plain enough to be typed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from hashlib import sha256

from kplab.model.cluster import Pod

LONGEST_INTERFACE = 15
"""IFNAMSIZ less its final zero (linux/if.h)."""


def interface_name(prefix: str, owner: str) -> str:
    """Return `prefix` and the owner's name, its end replaced by a hash where the kernel would refuse the length."""
    name = prefix + owner
    if len(name) <= LONGEST_INTERFACE:
        return name
    digest = sha256(owner.encode()).hexdigest()[:4]
    return name[: LONGEST_INTERFACE - 5] + "-" + digest


def short_names(pods: Iterable[Pod], reserved: Collection[str]) -> dict[str, str]:
    """Return each pod's namespace name by `namespace/name`: its own name, or `name.namespace` where that is taken."""
    listed = list(pods)
    count = Counter(pod.name for pod in listed)
    return {
        f"{pod.namespace}/{pod.name}": (
            pod.name if count[pod.name] == 1 and pod.name not in reserved else f"{pod.name}.{pod.namespace}"
        )
        for pod in listed
    }
