"""A node's rules as its kernel printed them, parsed once for each text."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from kplab.errors import UsageError
from kplab.model.ruleset import Ruleset
from kplab.rules.ipset_save import parse_ipset_save
from kplab.rules.iptables_save import parse_iptables_save
from kplab.trace.match_state import NodeView
from kplab.trace.recording import ChainHandles, NodeState


def ruleset_of(state: NodeState, family: Literal[4, 6], backend: Literal["nft", "legacy"]) -> Ruleset | None:
    """Return the node's ruleset of a family and back-end; None when it was not read or cannot be parsed."""
    save = next((s for s in state.saves if (s.family, s.backend) == (family, backend)), None)
    return None if save is None else _parsed(save.text, family, backend, state.handles)


@lru_cache(maxsize=16)
def _parsed(
    text: str, family: Literal[4, 6], backend: Literal["nft", "legacy"], handles: tuple[ChainHandles, ...]
) -> Ruleset | None:
    try:
        return parse_iptables_save(text, family, backend, handles)
    except UsageError:
        return None


@lru_cache(maxsize=16)
def view_of(state: NodeState) -> NodeView:
    """Return what rules ask about the node."""
    try:
        sets = parse_ipset_save(state.ipset)
    except UsageError:
        sets = {}
    return NodeView.read(state.addresses, state.routes, state.recent, sets)
