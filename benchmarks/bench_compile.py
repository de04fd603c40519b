"""How long compiling a large cluster takes."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figure import Figure, seconds
from kplab.model.config import ProxyConfig
from kplab.model.synthetic import large_cluster
from kplab.modes.facts import NodeFacts
from kplab.modes.iptables import compile_iptables


def measure() -> Iterator[Figure]:
    """Yield the time of 4,000 Services of 6 endpoints, compiled and printed."""
    cluster = large_cluster(4000, 6)
    config = ProxyConfig(cluster_cidrs=("10.244.0.0/16",))
    facts = NodeFacts(addresses=("192.168.50.10", "127.0.0.1"))

    yield Figure(
        "compile 4,000 Services x 6 endpoints, IPv4, with its text",
        seconds(lambda: compile_iptables(cluster, config, "node-a", 4, facts).text()),
        "s",
        0.8,
    )
