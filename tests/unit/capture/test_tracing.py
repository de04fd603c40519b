"""The lab's own tracing rules."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from kplab.capture.tracing import HOOKS, TRACED_ROLES, lab_chains, tracing_ruleset
from kplab.model.topology import Role

pytestmark = pytest.mark.unit


def test_every_chain_of_the_ruleset_is_named_as_the_labs() -> None:
    """`lab_chains` lists the ruleset's chains, no more and no fewer: nothing of ours is shown as kube-proxy's."""
    text = tracing_ruleset("node", "nft")
    assert {("kplab-trace", name) for name in re.findall(r"chain (\S+)", text)} == set(lab_chains())


def test_each_hook_has_a_first_and_a_last_chain() -> None:
    """Headers are seen on entry, before raw (-300), and on leaving, after source NAT (100)."""
    text = tracing_ruleset("node", "legacy")
    for hook in HOOKS:
        assert f"hook {hook} priority -500; policy accept;" in text
        assert f"hook {hook} priority 500; policy accept;" in text


def test_packets_are_marked_where_they_enter_and_nowhere_else() -> None:
    """Two ways into a node: from a link, and from its own sockets."""
    chains = re.findall(r"chain (\S+) \{\n(.*?)\n  \}", tracing_ruleset("node", "nft"), re.DOTALL)
    assert [name for name, body in chains if "nftrace set 1" in body] == ["prerouting-first", "output-first"]


def test_every_rule_says_whose_it_is() -> None:
    """A student who lists the rules reads that these are the lab's."""
    lines = tracing_ruleset("node", "nft").splitlines()
    rules = [line for line in lines if line.startswith("    ") and "type filter" not in line]
    assert len(rules) == 14
    assert all("kplab: the lab's own tracing" in rule for rule in rules)


@pytest.mark.parametrize("role", get_args(Role))
def test_only_nodes_are_traced(role: Role) -> None:
    """No rule of ours is put where kube-proxy's are not."""
    assert bool(tracing_ruleset(role, "nft")) == (role in TRACED_ROLES) == (role == "node")
