"""Cluster as one node sees it -> what kube-proxy v1.36 writes in iptables mode, for one family.

Follows syncProxyRules of pkg/proxy/iptables/proxier.go: which chains and rules there are, their order and
their spelling. The order among Services is ours (sorted by name): kube-proxy walks a Go map, so its own
order differs from sync to sync.
"""

from __future__ import annotations

from kplab.model.cluster import Cluster, Family
from kplab.model.config import ProxyConfig
from kplab.modes.facts import NodeFacts
from kplab.modes.iptables_fixed import JUMPS, filter_frame, nat_frame
from kplab.modes.iptables_service import service_block
from kplab.modes.iptables_settings import Settings, read_settings
from kplab.modes.nodeports import node_port_addresses
from kplab.modes.program import IptablesProgram, ServiceBlock, TableProgram
from kplab.modes.units import Unit, gather_units

LARGE_CLUSTER_ENDPOINTS = 1000
"""`largeClusterEndpointsThreshold`: with more endpoints than this, rules of endpoints carry no comments."""


def compile_iptables(
    cluster: Cluster,
    config: ProxyConfig,
    node: str,
    family: Family,
    facts: NodeFacts,
    previous: IptablesProgram | None = None,
) -> IptablesProgram:
    """Return every rule that kube-proxy on `node` would write for one family.

    `previous`, a program compiled earlier, saves time: a service port that is the same, with the same
    endpoints and settings, keeps its rules. The result is the same without it.
    """
    units = gather_units(cluster, family, node, previous.units if previous is not None else None)
    total = units.endpoints()
    addresses = node_port_addresses(cluster, config, node, family, facts)
    large = total > LARGE_CLUSTER_ENDPOINTS
    settings = read_settings(cluster, config, node, family, facts, addresses, large=large)
    blocks = _blocks(units.sorted(), settings, previous)
    liberal = facts.tcp_be_liberal or config.conntrack.tcp_be_liberal
    filters = filter_frame(settings, drop_invalid=not liberal)
    nat = nat_frame(settings, addresses, facts)
    refused = [rule for block in blocks for rule in block.filter_rules]
    chains = [chain for block in blocks for chain in block.nat_chains]
    rules = [rule for block in blocks for rule in block.nat_rules]
    return IptablesProgram(
        family=family,
        jumps=JUMPS,
        tables=(
            TableProgram("filter", filters.chains, (*filters.first, *refused, *filters.after)),
            TableProgram("nat", (*nat.chains, *chains), (*nat.first, *rules), nat.last),
        ),
        endpoints=total,
        blocks=blocks,
        settings=settings,
        units=units,
    )


def _blocks(units: list[Unit], settings: Settings, previous: IptablesProgram | None) -> tuple[ServiceBlock, ...]:
    known = previous.blocks if previous is not None and previous.settings == settings else ()
    old = {block.owner: block for block in known}
    blocks = []
    for unit in units:
        block = old.get(unit[0].owner)
        blocks.append(block if block is not None and block.unit == unit else service_block(*unit, settings))
    return tuple(blocks)
