"""Proxy mode -> what compiles it: the one place that knows which modes there are."""

from __future__ import annotations

from typing import Protocol

from kplab.errors import UnknownNameError
from kplab.model.cluster import Cluster, Family
from kplab.model.config import ProxyConfig
from kplab.modes.ebpf import EbpfProgram, compile_maps
from kplab.modes.facts import NodeFacts
from kplab.modes.iptables import compile_iptables
from kplab.modes.ipvs import compile_ipvs
from kplab.modes.ipvs_program import IpvsProgram
from kplab.modes.nft_program import NftablesProgram
from kplab.modes.nftables import compile_nftables
from kplab.modes.program import IptablesProgram
from kplab.modes.userspace import compile_userspace

Program = IptablesProgram | NftablesProgram | IpvsProgram | EbpfProgram
"""What some mode compiles to; take it apart by its type, with assert_never at the end."""


class Compiler(Protocol):
    """Cluster as one node sees it -> what kube-proxy would write for one family."""

    def __call__(self, cluster: Cluster, config: ProxyConfig, node: str, family: Family, facts: NodeFacts) -> Program:
        """Compile; pure, the same inputs give the same program."""


COMPILERS: dict[str, Compiler] = {
    "iptables": compile_iptables,
    "ipvs": compile_ipvs,
    "nftables": compile_nftables,
    "userspace": compile_userspace,
    "ebpf": compile_maps,
}
"""Every mode, by the name that users type."""


def known_modes() -> tuple[str, ...]:
    """Return every mode that has a name here."""
    return tuple(COMPILERS)


def compiler(mode: str) -> Compiler:
    """Return a mode's compiler; raises UnknownNameError, which lists the modes."""
    found = COMPILERS.get(mode)
    if found is None:
        raise UnknownNameError(f"there is no proxy mode {mode!r}", hint=f"Modes that work: {', '.join(COMPILERS)}.")
    return found
