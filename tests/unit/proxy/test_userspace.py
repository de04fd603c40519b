"""Userspace mode's choice of an endpoint, and the text that its rules are written and removed by."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.model.config import ProxyConfig
from kplab.model.loader import load_cluster
from kplab.modes.facts import NodeFacts
from kplab.modes.userspace import compile_userspace
from kplab.proxy.dump import read_dump
from kplab.proxy.userspace_balance import RoundRobin
from kplab.proxy.userspace_rules import removing, writing

pytestmark = pytest.mark.unit

CLUSTER = load_cluster(Path(__file__).parents[3] / "lessons" / "cluster.yaml")
EMPTY = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"


def turn(*endpoints: str, affinity: float | None = None) -> RoundRobin:
    """A turn over these endpoints."""
    balance = RoundRobin()
    balance.update(endpoints, affinity)
    return balance


def test_each_in_turn() -> None:
    """Every endpoint once, then from the first again, whoever asks."""
    balance = turn("a", "b", "c")

    assert [balance.choose(f"client-{n}", 0.0) for n in range(7)] == ["a", "b", "c", "a", "b", "c", "a"]


def test_a_change_of_endpoints_begins_anew() -> None:
    """The turn starts at the first of the new ones; the same endpoints again change nothing."""
    balance = turn("a", "b", "c")
    balance.choose("client", 0.0)
    balance.update(("a", "b", "c"), None)
    assert balance.choose("client", 0.0) == "b"

    balance.update(("b", "c"), None)
    assert balance.choose("client", 0.0) == "b"


def test_affinity_keeps_a_client_until_it_is_silent_for_too_long() -> None:
    """ClientIP affinity is by address; each use renews it; another client takes the turn."""
    balance = turn("a", "b", affinity=10.0)

    assert [balance.choose("one", now) for now in (0.0, 9.0, 18.0)] == ["a", "a", "a"]
    assert balance.choose("two", 18.0) == "b"
    assert balance.choose("two", 28.0) == "a"


def test_affinity_is_given_up_with_its_endpoint() -> None:
    """An endpoint that is gone, or could not be reached, is not chosen by affinity."""
    balance = turn("a", "b", affinity=10.0)
    balance.choose("one", 0.0)
    assert balance.choose("one", 1.0, forget=True) == "b"

    balance.update(("a",), 10.0)
    assert balance.choose("one", 2.0) == "a"


def test_no_endpoint_no_choice() -> None:
    """A Service without endpoints gives None."""
    assert turn().choose("client", 0.0) is None


def test_jumps_are_written_once_with_cluster_ips_first() -> None:
    """Missing jumps are inserted so that portals come before NodePorts; those that are there are left alone."""
    program = compile_userspace(CLUSTER, ProxyConfig(), "node-a", 4, NodeFacts())
    text = writing(program, read_dump(EMPTY))
    inserted = [line.split()[-1] for line in text.splitlines() if line.startswith("-I PREROUTING")]
    jumps = [line.replace("-I ", "-A ", 1) for line in text.splitlines() if line.startswith("-I ")]
    held = EMPTY.replace("COMMIT\n*nat", jumps[0] + "\nCOMMIT\n*nat").replace(
        "COMMIT\n", "\n".join(jumps[1:]) + "\nCOMMIT\n"
    )

    assert inserted == ["KUBE-NODEPORT-CONTAINER", "KUBE-PORTALS-CONTAINER"]
    assert "-I " not in writing(program, read_dump(held))


def test_removing_takes_what_is_there_only() -> None:
    """Nothing for tables without the chains; else jumps, then chains."""
    held = EMPTY.replace(
        ":OUTPUT ACCEPT [0:0]\n",
        ":OUTPUT ACCEPT [0:0]\n:KUBE-PORTALS-HOST - [0:0]\n"
        '-A OUTPUT -m comment --comment "handle ClusterIPs; NOTE: this must be before the NodePort rules" '
        "-j KUBE-PORTALS-HOST\n",
    )

    assert removing(read_dump(EMPTY)) == ""
    assert removing(read_dump(held)).splitlines() == [
        "*nat",
        ":KUBE-PORTALS-HOST - [0:0]",
        '-D OUTPUT -m comment --comment "handle ClusterIPs; NOTE: this must be before the NodePort rules" '
        "-j KUBE-PORTALS-HOST",
        "-X KUBE-PORTALS-HOST",
        "COMMIT",
    ]
