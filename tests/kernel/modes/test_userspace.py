"""Journeys in userspace mode: into kube-proxy, and out of it in a connection of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kplab.errors import SandboxError
from kplab.model.expression import parse_expression
from kplab.model.journey import Hop, Journey
from kplab.model.packet import ClientSpec, SendSpec
from kplab.scene.listings import homes_of, listings, touched
from kplab.session.base import LabPlan
from kplab.session.live import LiveSession, start_lab
from kplab.trace.journey import tell

pytestmark = pytest.mark.kernel

CLUSTER = Path(__file__).parents[3] / "lessons" / "cluster.yaml"


@pytest.fixture(scope="module", params=["nft", "legacy"])
def lab(request: pytest.FixtureRequest) -> Iterator[LiveSession]:
    """A lab in userspace mode."""
    try:
        session = start_lab(
            LabPlan(manifest=CLUSTER.read_text(encoding="utf-8"), mode="userspace", backend=request.param)
        )
    except SandboxError as error:
        pytest.skip(f"no lab can be started here: {error}")
    yield session
    session.close()


def trace(lab: LiveSession, spec: SendSpec, sender: str = "client") -> Journey:
    """Send, tell, and check what holds for every journey."""
    journey = tell(lab.send(spec, sender))
    assert (journey.complete, journey.incomplete_because, journey.disagreements) == (True, None, ())
    return journey


def told(journey: Journey, packet: int) -> list[tuple[str, str]]:
    """Node and kind of a packet's hops that change something or end it."""
    kinds = ("DNAT", "SNAT", "reverse NAT", "proxy", "delivered", "dropped", "rejected")
    return [(hop.node, hop.kind) for hop in journey.hops if hop.packet == packet and hop.kind in kinds]


def proxies(journey: Journey) -> list[Hop]:
    """The hops in which kube-proxy opened a connection."""
    return [hop for hop in journey.hops if hop.kind == "proxy"]


def test_a_syn_is_answered_by_the_nodes_own_kernel(lab: LiveSession) -> None:
    """REDIRECT, INPUT, kube-proxy's listening socket: the kernel answers, and no other connection begins."""
    journey = trace(lab, parse_expression('IP(dst="10.96.0.42")/TCP(dport=80, flags="S")'))
    rule = next(hop for hop in journey.hops if hop.chain == "KUBE-PORTALS-CONTAINER" and hop.kind == "rule")

    assert "-j REDIRECT --to-ports" in (rule.rule or "")
    assert [hop.hook for hop in journey.hops if hop.kind == "hook" and hop.packet == 1] == ["PREROUTING", "INPUT"]
    assert told(journey, 1) == [("node-a", "DNAT"), ("node-a", "delivered")]
    assert told(journey, 2) == [("node-a", "reverse NAT"), ("client", "delivered")]
    assert (proxies(journey), journey.packets) == ([], 2)


def test_the_ports_that_the_rules_redirect_to_are_kube_proxys_own(lab: LiveSession) -> None:
    """The rules browser shows `ss` beside the rules, and lights the socket that a packet was redirected to."""
    recording = lab.send(ClientSpec("curl", "http://10.96.0.42/"), "client")
    journey = tell(recording)
    shown = next(each for each in listings(recording.nodes) if (each.node, each.command) == ("node-a", "ss -H -tulnp"))
    at = next(number for number, hop in enumerate(journey.hops) if hop.kind == "proxy")

    (line,) = touched(shown, journey.hops[: at + 1], homes_of(recording.topology)).now

    port = journey.hops[at].before.dst.rpartition(":")[2]
    assert f":{port} " in shown.page.lines[line]
    assert f"pid={dict(recording.nodes[0].processes)['kube-proxy']}," in shown.page.lines[line]


def test_a_connection_is_followed_over_both_connections(lab: LiveSession) -> None:
    """Two connections, two conntrack entries on the node; the pod sees the node, the client sees the ClusterIP."""
    spec = ClientSpec(client="curl", target="http://10.96.0.42")
    journey = trace(lab, spec)
    (proxy,) = proxies(journey)
    opening = [hop for hop in journey.hops if hop.packet == proxy.packet]
    made = {
        (hop.conntrack.original.src, hop.conntrack.original.dst)
        for hop in journey.hops
        if hop.node == "node-a" and hop.conntrack and hop.conntrack.change == "new"
    }
    arrived = opening[-1]

    assert (proxy.evidence, proxy.service, proxy.before.src.split(":")[0]) == ("seen", "demo/web:http", "10.244.1.5")
    assert [hop.hook for hop in opening if hop.kind == "hook" and hop.node == "node-a"] == ["OUTPUT", "POSTROUTING"]
    assert (arrived.kind, arrived.after.dst, arrived.after.src) == ("delivered", proxy.after.dst, proxy.after.src)
    assert made == {(proxy.before.src, "10.96.0.42:80"), (proxy.after.src, proxy.after.dst)}
    assert "ended with status 0" in journey.outcome
    replies = [hop for hop in journey.hops if hop.kind == "delivered" and hop.direction == "reply"]
    assert {hop.after.src for hop in replies if hop.node == "client"} == {"10.96.0.42:80"}


@pytest.mark.parametrize(
    ("sender", "client", "target"),
    [("client", "udp", "10.96.0.77:7"), ("outside", "curl", "http://192.168.50.10:30030"),
     ("node-a", "curl", "http://10.96.0.42"), ("client-b", "tcp", "10.96.0.77:7")],
)  # fmt: skip
def test_every_way_in_leads_through_kube_proxy(lab: LiveSession, sender: str, client: str, target: str) -> None:
    """UDP, a NodePort from outside, the node itself, and a pod of the other node: one proxy hop, and an answer."""
    journey = trace(lab, ClientSpec(client=client, target=target), sender)  # type: ignore[arg-type]

    assert len(proxies(journey)) == 1
    assert "ended with status 0" in journey.outcome


def test_a_service_without_endpoints_is_closed_at_once(lab: LiveSession) -> None:
    """Kube-proxy takes the connection, finds nobody to pass it to, and closes it."""
    journey = trace(lab, ClientSpec(client="curl", target="http://10.96.0.66"))

    assert proxies(journey) == []
    assert "Empty reply" in journey.outcome or "reset" in journey.outcome
