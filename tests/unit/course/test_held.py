"""What a node held is put back with the tools of its mode."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kplab.course.held import Held, differing, put_back, read_held
from kplab.course.held_ipvs import IpvsState
from kplab.model import bpf_maps as layout
from kplab.session.base import ExecResult
from kplab.session.scripted import ScriptedSession
from kplab.trace.recording import Save

pytestmark = pytest.mark.unit

IPVS = IpvsState(
    servers="-A -t 10.96.0.42:80 -s rr\n",
    sets="create KUBE-CLUSTER-IP hash:ip,port family inet\nadd KUBE-CLUSTER-IP 10.96.0.42,tcp:80\n",
    addresses=frozenset({"10.96.0.42/32", "fd00:10:96::42/128"}),
    sysctls="net.ipv4.vs.conntrack = 1\n",
    timeouts=("900", "120", "300"),
)


def _texts(session: ScriptedSession) -> dict[tuple[str, ...], str]:
    return {argv: text for _, argv, text in session.executed}


def test_a_table_that_the_student_made_is_deleted(session: ScriptedSession) -> None:
    """Tables of nf_tables that were not there before go, in any mode; kplab's own tracing stays."""
    session.answer = lambda namespace, argv, stdin: ExecResult(
        0, "table ip filter\ntable ip nat\ntable inet kplab-trace\n" if argv == ("nft", "list", "tables") else "", ""
    )
    put_back(session, Held("node-a", nft_tables=frozenset({"ip filter"})))
    assert [argv for _, argv, _ in session.executed] == [
        ("nft", "list", "tables"),
        ("nft", "delete", "table", "ip", "nat"),
    ]


def test_ipvs_mode_is_put_back_in_order(session: ScriptedSession) -> None:
    """Sets before the rules that ask for them; a set is flushed and filled, virtual servers are loaded whole."""
    session.answer = lambda namespace, argv, stdin: ExecResult(
        0, "5: kube-ipvs0    inet 10.9.9.9/32 scope global kube-ipvs0\n" if "address" in argv else "", ""
    )
    put_back(session, Held("node-a", saves=(Save(family=4, backend="nft", text="*nat\nCOMMIT\n"),), ipvs=IPVS))
    ran = [argv[:2] for _, argv, _ in session.executed]
    assert ran.index(("ipset", "-exist")) < ran.index(("iptables-nft-restore",)) < ran.index(("ipvsadm", "-R"))
    texts = _texts(session)
    assert texts["ipset", "-exist", "restore"].splitlines()[1] == "flush KUBE-CLUSTER-IP"
    assert texts["ipvsadm", "-R"] == IPVS.servers
    assert texts["ip", "-batch", "-"].splitlines() == [
        "address delete 10.9.9.9/32 dev kube-ipvs0",
        "address add 10.96.0.42/32 dev kube-ipvs0",
        "address add fd00:10:96::42/128 dev kube-ipvs0",
    ]
    assert texts["sysctl", "-q", "-p", "-"] == IPVS.sysctls
    assert ("ipvsadm", "--set", "900", "120", "300") in texts


def test_a_device_that_was_deleted_is_made_again(session: ScriptedSession) -> None:
    """kube-ipvs0 is a dummy device without ARP, and stays down."""
    session.answer = lambda namespace, argv, stdin: ExecResult(1 if "address" in argv else 0, "", "")
    put_back(session, Held("node-a", ipvs=IPVS))
    assert _texts(session)["ip", "-batch", "-"].splitlines()[:2] == [
        "link add kube-ipvs0 type dummy",
        "link set kube-ipvs0 arp off",
    ]


def test_a_set_of_the_students_own_is_destroyed(session: ScriptedSession) -> None:
    """After the rules, which might have asked for it."""
    session.answer = lambda namespace, argv, stdin: ExecResult(
        0, "KUBE-CLUSTER-IP\nMINE\n" if argv == ("ipset", "list", "-name") else "", ""
    )
    put_back(session, Held("node-a", ipvs=IPVS))
    assert session.executed[-1][1] == ("ipset", "destroy", "MINE")


def test_maps_are_written_where_they_differ(session: ScriptedSession) -> None:
    """One run of bpftool: what was changed or deleted is written, what was added is deleted, the rest is left."""
    now = [
        {"key": ["0x01"], "value": ["0x0a"]},
        {"key": ["0x02"], "value": ["0x63"]},
        {"key": ["0x09"], "value": ["0x09"]},
    ]
    session.answer = lambda namespace, argv, stdin: ExecResult(0, json.dumps(now) if "dump" in argv else "", "")
    held = {layout.BACKENDS: {b"\1": b"\x0a", b"\2": b"\x0b", b"\3": b"\x0c"}}
    put_back(session, Held("node-a", maps=held))
    file = "/run/kplab/bpf/node-a/cilium_lb4_backends_v3"
    assert _texts(session)["bpftool", "batch", "file", "-"].splitlines() == [
        f"map update pinned {file} key hex 02 value hex 0b",
        f"map update pinned {file} key hex 03 value hex 0c",
        f"map delete pinned {file} key hex 09",
    ]


def test_counters_do_not_count_as_a_difference(session: ScriptedSession) -> None:
    """Packets pass while a lesson is taught: rules are compared, not how often they matched."""
    held = read_held(session, "node-a")
    counted = replace(held, saves=tuple(Save(4, "nft", save.text.replace("[0:0]", "[7:420]")) for save in held.saves))
    flushed = replace(held, saves=tuple(Save(4, "nft", save.text.replace("-A", "#")) for save in held.saves))
    assert differing(held, counted) == ()
    assert differing(held, flushed) == ("rules",)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (replace(IPVS, servers=""), "virtual servers"),
        (replace(IPVS, sets=""), "ipsets"),
        (replace(IPVS, addresses=None), "kube-ipvs0's addresses"),
        (replace(IPVS, sysctls="net.ipv4.vs.conntrack = 0\n"), "sysctls"),
        (replace(IPVS, timeouts=("5", "5", "5")), "timeouts"),
    ],
)
def test_what_differs_in_ipvs_mode_is_named(changed: IpvsState, named: str) -> None:
    """Each part by itself."""
    assert differing(Held("node-a", ipvs=IPVS), Held("node-a", ipvs=changed)) == (named,)
