"""Checks of IPVS mode, against what ipvsadm, ipset, ip and iptables-save print."""

from __future__ import annotations

import pytest

from kplab.course.check_ipvs import ipvs_rules
from kplab.course.checks import examine
from kplab.course.lesson import IpvsRules, IpvsService
from kplab.rules.iptables_save import parse_iptables_save
from kplab.session.base import ExecResult
from kplab.session.scripted import ScriptedSession

pytestmark = pytest.mark.unit

CHECK = IpvsService("node-a", "TCP 10.96.0.42:80", ("10.244.1.10:8080", "10.244.2.10:8080"))
SERVERS = """\
-A -t 10.96.0.42:80 -s rr
-a -t 10.96.0.42:80 -r 10.244.1.10:8080 -m -w 1
-a -t 10.96.0.42:80 -r 10.244.2.10:8080 -m -w 1
"""
SETS = """\
create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536
add KUBE-CLUSTER-IP 10.96.0.42,tcp:80
create KUBE-IPVS-IPS hash:ip family inet hashsize 1024 maxelem 65536
add KUBE-IPVS-IPS 10.96.0.42
"""
BOUND = "5: kube-ipvs0    inet 10.96.0.42/32 scope global kube-ipvs0\\       valid_lft forever preferred_lft forever\n"
RULES = """\
*filter
:INPUT ACCEPT [0:0]
:KUBE-IPVS-FILTER - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
-A INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
-A INPUT -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT
-A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""  # noqa: E501


class Node(ScriptedSession):
    """A node of IPVS mode, each listing of which a test may change."""

    servers, sets, bound = SERVERS, SETS, BOUND

    def execute(self, namespace: str, argv: tuple[str, ...], stdin: str = "") -> ExecResult:
        """Answer what the check asks."""
        if "ipvsadm" in argv[-1]:
            return ExecResult(0, f"{self.servers}--\n{self.sets}", "")
        return ExecResult(0, self.bound or "none\n", "")


@pytest.fixture
def node(session: ScriptedSession) -> Node:
    """The node as kube-proxy left it."""
    return Node(session.topology)


def test_what_kube_proxy_wrote_passes(node: Node) -> None:
    """Address, sets, virtual server and weights."""
    found = examine(CHECK, node)
    assert found.missed == ()
    assert found.lines == ("node-a: IPVS has TCP 10.96.0.42:80, scheduler rr, 2 real servers",)


@pytest.mark.parametrize(
    ("listing", "old", "new", "said"),
    [
        ("bound", BOUND, "", "node-a has no device kube-ipvs0"),
        ("bound", "10.96.0.42", "10.96.0.20", "10.96.0.42 is not an address of kube-ipvs0"),
        ("servers", SERVERS, "", "node-a: IPVS has no virtual server TCP 10.96.0.42:80"),
        ("servers", "-A -t", "-A -u", "node-a: IPVS has no virtual server TCP 10.96.0.42:80"),
        ("servers", "10.244.2.10:8080 -m -w 1", "10.244.2.10:8080 -m -w 0", "10.244.2.10:8080 has weight 0"),
        ("servers", "10.244.2.10:8080 -m -w 1", "10.244.2.10:8080 -m -w 5", "10.244.2.10:8080 has weight 5"),
        ("servers", "-r 10.244.2.10", "-r 10.244.2.99", "has no real server 10.244.2.10:8080"),
        ("servers", "-r 10.244.2.10", "-r 10.244.2.99", "has a real server 10.244.2.99:8080, which is no endpoint"),
        ("sets", "10.96.0.42,tcp:80", "10.96.0.42,tcp:81", "KUBE-CLUSTER-IP of node-a has no member 10.96.0.42,tcp:80"),
        ("sets", "IPS 10.96.0.42", "IPS 10.96.0.20", "KUBE-IPVS-IPS of node-a has no member 10.96.0.42"),
    ],
)
def test_each_thing_that_is_wrong_is_said(node: Node, listing: str, old: str, new: str, said: str) -> None:
    """One thing changed at a time: the student reads what it is."""
    before = getattr(node, listing)
    setattr(node, listing, before.replace(old, new))
    assert getattr(node, listing) != before
    assert [text for text in examine(CHECK, node).missed if said in text]


def test_rules_of_ipvs_mode_alone_pass() -> None:
    """The guards are hooked, and reject."""
    assert ipvs_rules(IpvsRules("node-a"), parse_iptables_save(RULES, 4, "nft")).missed == ()


LEFT = """\
:KUBE-EXTERNAL-SERVICES - [0:0]
-A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES
-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "demo/shop:http has no endpoints" -m tcp --dport 30030 -j REJECT
COMMIT"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("COMMIT", LEFT, "filter INPUT jumps to KUBE-EXTERNAL-SERVICES still"),
        ("COMMIT", LEFT, "a rule of iptables mode's: demo/shop:http has no endpoints, REJECT"),
        ("COMMIT", "-A INPUT -p tcp -m tcp --dport 30030 -j ACCEPT\nCOMMIT", "is none of kube-proxy's: ACCEPT"),
        (' filter" -j KUBE-IPVS-FILTER', ' filter" -j KUBE-NODE-PORT', "does not jump to KUBE-IPVS-FILTER"),
        ("dst -j REJECT --reject-with icmp-port-unreachable", "dst -j RETURN", "KUBE-IPVS-FILTER rejects nothing"),
    ],
)
def test_what_is_left_over_or_gone_is_said(old: str, new: str, said: str) -> None:
    """Leftovers of iptables mode, rules of the student's own, guards that were flushed."""
    assert old in RULES
    found = ipvs_rules(IpvsRules("node-a"), parse_iptables_save(RULES.replace(old, new), 4, "nft"))
    assert [text for text in found.missed if said in text], found.missed
