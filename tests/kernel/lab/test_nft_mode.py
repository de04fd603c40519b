"""A lab whose kube-proxy is in nftables mode: Services answer, changes arrive, iptables holds nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from kplab.scene.listings import listings
from kplab.session.base import LabPlan
from kplab.session.live import LiveSession, start_lab

pytestmark = pytest.mark.kernel

OTHERS = ("10.244.1.11", "10.244.2.10")
"""The endpoints of demo/shop besides pod web-1."""


@pytest.fixture(scope="module")
def nft_lab(plan: LabPlan) -> Iterator[LiveSession]:
    """A lab in nftables mode."""
    session = start_lab(replace(plan, mode="nftables"))
    yield session
    session.close()


def fetched(lab: LiveSession, namespace: str, url: str) -> dict[str, str]:
    """Fetch a page of a pod's server; return what it told, "" for `pod` where nothing answered."""
    done = lab.execute(namespace, ("curl", "-sS", "-g", "--max-time", "3", url))
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    return {"pod": "", "refused": done.stderr} | told


@pytest.mark.parametrize("sender", ["client", "client-b", "web-1", "node-a"])
@pytest.mark.parametrize("url", ["http://10.96.0.30/", "http://[fd00:10:96::42]/"])
def test_a_cluster_ip_answers_from_everywhere(nft_lab: LiveSession, sender: str, url: str) -> None:
    """ClusterIPs of both families answer for pods and for the nodes themselves."""
    assert fetched(nft_lab, sender, url)["pod"].startswith("web-")


@pytest.mark.parametrize("node", ["192.168.50.10", "192.168.50.11"])
def test_a_node_port_answers_and_hides_the_client(nft_lab: LiveSession, node: str) -> None:
    """With externalTrafficPolicy Cluster the pod sees the node's address."""
    told = fetched(nft_lab, "outside", f"http://{node}:30030/")

    assert told["pod"].startswith("web-")
    assert told["peer"].startswith(("192.168.50.1", "10.244."))


def test_a_local_node_port_keeps_the_client(nft_lab: LiveSession) -> None:
    """With externalTrafficPolicy Local the pod, on that node, sees the client's own address."""
    told = fetched(nft_lab, "outside", "http://192.168.50.10:30031/")

    assert told["node"] == "node-a"
    assert told["peer"].startswith("203.0.113.10:")


def test_node_ports_are_not_on_loopback(nft_lab: LiveSession) -> None:
    """Unlike iptables mode, 127.0.0.1 is no address for NodePorts."""
    assert "Failed to connect" in fetched(nft_lab, "node-a", "http://127.0.0.1:30030/")["refused"]


@pytest.mark.parametrize("url", ["http://10.96.0.66/", "http://10.96.0.30:81/"])
def test_what_nothing_serves_is_refused(nft_lab: LiveSession, url: str) -> None:
    """A Service without endpoints, and a port that a ClusterIP does not have, are rejected."""
    assert "Failed to connect" in fetched(nft_lab, "client", url)["refused"]


def test_iptables_holds_nothing_and_the_state_holds_the_tables(nft_lab: LiveSession) -> None:
    """Both of kube-proxy's tables are read with handles; iptables-save knows no chain of its."""
    state = nft_lab.read_node("node-b")

    assert "KUBE-" not in "".join(save.text for save in state.saves)
    chains = [each["chain"] for each in json.loads(state.nft)["nftables"] if "chain" in each]
    assert {chain["family"] for chain in chains if chain["table"] == "kube-proxy"} == {"ip", "ip6"}
    services = next(each for each in state.handles if (each.family, each.chain) == ("ip", "services"))
    listed = [
        each["rule"]["handle"]
        for each in json.loads(state.nft)["nftables"]
        if "rule" in each and (each["rule"]["family"], each["rule"]["chain"]) == ("ip", "services")
    ]
    assert listed == list(services.handles)


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_the_rules_browser_shows_what_nft_lists(nft_lab: LiveSession, family: str) -> None:
    """Word for word what `nft list table` prints there, but for what its JSON does not tell (comments, `dynamic`)."""
    command = f"nft list table {family} kube-proxy"
    shown = next(each for each in listings([nft_lab.read_node("node-a")]) if each.command == command)

    printed = nft_lab.execute("node-a", tuple(command.split())).stdout

    untold = r"\n\tcomment \".*|\n\t\tcomment \"helper for.*|dynamic,"
    assert " ".join(shown.page.lines).split() == re.sub(untold, "", printed).split()


def test_the_proxy_says_which_mode_it_is_in(nft_lab: LiveSession) -> None:
    """/proxyMode on the metrics' port."""
    assert nft_lab.execute("node-a", ("curl", "-s", "http://127.0.0.1:10249/proxyMode")).stdout == "nftables"


def test_a_change_arrives_and_a_pod_meets_itself(plan: LabPlan) -> None:
    """With one endpoint left, that pod's own request comes back to it, from the node's address: the hairpin set."""
    session = start_lab(replace(plan, mode="nftables"))
    try:
        before, shop, after = plan.manifest.partition("name: shop-v4\n")
        mine, end, others = after.partition("\n---\n")
        for address in OTHERS:
            mine = re.sub(rf"({re.escape(address)}\]\n  conditions: {{ready: )true", r"\1false", mine)
        session.apply(before + shop + mine + end + others)
        told = fetched(session, "web-1", "http://10.96.0.30/")
    finally:
        session.close()

    assert told["pod"] == "web-1"
    assert told["peer"].startswith("10.244.1.1:")
