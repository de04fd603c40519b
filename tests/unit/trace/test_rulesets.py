"""Of a node's rules only the chains that are asked for are parsed, and each once for a text."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kplab.trace.recording import ChainHandles, NodeState, Save
from kplab.trace.rulesets import rules_of

pytestmark = pytest.mark.unit

TEXT = """*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -j DROP
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:EMPTY - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.1/32 -j ACCEPT
-A KUBE-SERVICES
COMMIT
"""


def node(text: str = TEXT, handles: tuple[ChainHandles, ...] = ()) -> NodeState:
    """A node that holds this text."""
    return NodeState("node-a", saves=(Save(4, "nft", text),), handles=handles)


def test_only_the_chains_asked_for_are_there() -> None:
    """With their policies and their rules' own numbers; what the text lacks is left out."""
    rules = rules_of(node(), 4, "nft")
    assert rules is not None
    ruleset = rules.ruleset("nat", ["PREROUTING", "KUBE-SERVICES", "EMPTY", "NONE"])
    services = ruleset.chain("nat", "KUBE-SERVICES")

    assert sorted(ruleset.tables["nat"].chains) == ["EMPTY", "KUBE-SERVICES", "PREROUTING"]
    assert ruleset.tables["nat"].chains["PREROUTING"].policy == "ACCEPT"
    assert services is not None
    assert [rule.number for rule in services.rules] == [1, 2]
    assert ruleset.chain("filter", "FORWARD") is None


def test_the_same_text_with_other_handles() -> None:
    """A reload may leave the text as it is and number all rules anew."""
    for first in (7, 20):
        handles = (ChainHandles("ip", "nat", "KUBE-SERVICES", (first, first + 1)),)
        rules = rules_of(node(handles=handles), 4, "nft")
        assert rules is not None
        chain = rules.ruleset("nat", ["KUBE-SERVICES"]).chain("nat", "KUBE-SERVICES")

        assert chain is not None
        assert [rule.handle for rule in chain.rules] == [first, first + 1]


def test_two_nodes_with_the_same_text_have_handles_of_their_own() -> None:
    """In ipvs mode all nodes' rules read the same; one that loaded them once more has other handles."""
    here = replace(node(handles=(ChainHandles("ip", "nat", "KUBE-SERVICES", (7, 8)),)), node="node-a")
    there = replace(node(handles=(ChainHandles("ip", "nat", "KUBE-SERVICES", (20, 21)),)), node="node-b")
    both = [rules_of(here, 4, "nft"), rules_of(there, 4, "nft")]
    chains = [rules and rules.ruleset("nat", ["KUBE-SERVICES"]).chain("nat", "KUBE-SERVICES") for rules in both]

    assert [[rule.handle for rule in chain.rules] for chain in chains if chain] == [[7, 8], [20, 21]]


def test_counters_are_stepped_over() -> None:
    """`iptables-save -c` prints them before each rule."""
    rules = rules_of(node(TEXT.replace("-A KUBE", "[5:300] -A KUBE")), 4, "nft")
    assert rules is not None
    chain = rules.ruleset("nat", ["KUBE-SERVICES"]).chain("nat", "KUBE-SERVICES")

    assert chain is not None
    assert chain.rules[0].text == "-A KUBE-SERVICES -d 10.96.0.1/32 -j ACCEPT"


def test_what_was_not_read_or_is_no_dump() -> None:
    """None, so that the trace alone is told."""
    assert rules_of(node(), 6, "nft") is None
    assert rules_of(node(), 4, "legacy") is None
    assert rules_of(node("-A\n"), 4, "nft") is None
