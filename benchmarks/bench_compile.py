"""How long compiling a large cluster takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.figure import Figure, seconds
from kplab.model.cluster import Cluster
from kplab.model.config import ProxyConfig
from kplab.model.synthetic import large_cluster
from kplab.modes.facts import NodeFacts
from kplab.modes.iptables import compile_iptables
from kplab.modes.nft_program import difference
from kplab.modes.nftables import compile_nftables


def measure() -> Iterator[Figure]:
    """Yield the time of 4,000 Services of 6 endpoints, compiled and printed, and of one change among them."""
    cluster = large_cluster(4000, 6)
    config = ProxyConfig(cluster_cidrs=("10.244.0.0/16",))
    facts = NodeFacts(addresses=("192.168.50.10", "127.0.0.1"))

    yield Figure(
        "compile 4,000 Services x 6 endpoints, IPv4, with its text",
        seconds(lambda: compile_iptables(cluster, config, "node-a", 4, facts).text()),
        "s",
        0.8,
    )
    yield Figure(
        "nftables: compile 4,000 Services x 6 endpoints, with its text",
        seconds(lambda: compile_nftables(cluster, config, "node-a", 4, facts).text()),
        "s",
        0.6,
    )
    before = compile_nftables(cluster, config, "node-a", 4, facts)
    later = _one_endpoint_less(cluster)
    yield Figure(
        "nftables: compile one endpoint less, from the program before",
        1000 * seconds(lambda: compile_nftables(later, config, "node-a", 4, facts, before)),
        "ms",
        30,
    )
    after = compile_nftables(later, config, "node-a", 4, facts, before)
    yield Figure(
        "nftables: work out what to send for it",
        1000 * seconds(lambda: difference(before, after).text()),
        "ms",
        30,
    )


def _one_endpoint_less(cluster: Cluster) -> Cluster:
    middle = len(cluster.endpoint_slices) // 2
    slices = list(cluster.endpoint_slices)
    slices[middle] = replace(slices[middle], endpoints=slices[middle].endpoints[1:])
    return replace(cluster, endpoint_slices=tuple(slices))
