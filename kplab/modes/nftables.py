"""Cluster as one node sees it -> what kube-proxy v1.36 writes in nftables mode, for one family.

The order among Services is ours (sorted by name): kube-proxy walks a Go map, so its own order differs from
sync to sync.
"""

from __future__ import annotations

from kplab.model.cluster import Cluster, Family
from kplab.model.config import ProxyConfig
from kplab.modes.facts import NodeFacts
from kplab.modes.nft_program import NftablesProgram, NftBlock
from kplab.modes.nftables_fixed import frame
from kplab.modes.nftables_service import service_block
from kplab.modes.nftables_settings import NftSettings, read_nft_settings
from kplab.modes.units import Unit, gather_units


def compile_nftables(
    cluster: Cluster,
    config: ProxyConfig,
    node: str,
    family: Family,
    facts: NodeFacts,
    previous: NftablesProgram | None = None,
) -> NftablesProgram:
    """Return the table that kube-proxy on `node` would write for one family.

    `previous`, a program compiled earlier, saves time: a service port that is the same, with the same
    endpoints and settings, keeps its block. The result is the same without it.
    """
    units = gather_units(cluster, family, node, previous.units if previous is not None else None)
    settings = read_nft_settings(cluster, config, node, family, facts)
    known = previous if previous is not None and previous.settings == settings else None
    return NftablesProgram(
        family=family,
        frame=known.frame if known is not None else frame(settings),
        blocks=_blocks(units.sorted(), settings, known),
        settings=settings,
        endpoints=units.endpoints(),
        units=units,
    )


def _blocks(units: list[Unit], settings: NftSettings, known: NftablesProgram | None) -> tuple[NftBlock, ...]:
    old = {block.owner: block for block in known.blocks} if known is not None else {}
    blocks = []
    for unit in units:
        block = old.get(unit[0].owner)
        blocks.append(block if block is not None and block.unit == unit else service_block(*unit, settings))
    return tuple(blocks)
