"""What a node held is put back with the tools of its mode."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kplab.course.held import Held, differing, put_back, read_held
from kplab.course.held_ipvs import IpvsState, ipvs_state
from kplab.model import bpf_maps as layout
from kplab.session.base import ExecResult
from kplab.session.scripted import ScriptedSession
from kplab.trace.recording import Save

pytestmark = pytest.mark.unit

IPVS = IpvsState(
    servers="-A -t 10.96.0.42:80 -s rr\n",
    sets="create KUBE-CLUSTER-IP hash:ip,port family inet\nadd KUBE-CLUSTER-IP 10.96.0.42,tcp:80\n",
    addresses=frozenset({"10.96.0.42/32 dev kube-ipvs0", "192.168.50.10/24 dev eth0"}),
    sysctls="net/ipv4/vs/conntrack = 1\n",
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
    moved = "2: eth0    inet 192.168.50.10/24 scope global eth0\n2: eth0    inet 10.96.0.42/32 scope global eth0\n"
    session.answer = lambda namespace, argv, stdin: ExecResult(0, moved if "ip -o address show" in argv else "", "")
    put_back(session, Held("node-a", saves=(Save(family=4, backend="nft", text="*nat\nCOMMIT\n"),), ipvs=IPVS))
    lines = _texts(session)["sh", "-eu", "-s"].splitlines()
    assert lines == [
        "ipset -exist restore <<'END-OF-TEXT'",
        "create KUBE-CLUSTER-IP hash:ip,port family inet",
        "flush KUBE-CLUSTER-IP",
        "add KUBE-CLUSTER-IP 10.96.0.42,tcp:80",
        "END-OF-TEXT",
        "iptables-nft-restore <<'END-OF-TEXT'",
        "*nat",
        "COMMIT",
        "END-OF-TEXT",
        "ipvsadm -C",
        "ipvsadm -R <<'END-OF-TEXT'",
        "-A -t 10.96.0.42:80 -s rr",
        "END-OF-TEXT",
        "ip link show kube-ipvs0 >/dev/null 2>&1 || ip link add kube-ipvs0 type dummy",
        "ip link set kube-ipvs0 arp off",
        "ip -batch - <<'END-OF-TEXT'",
        "address delete 10.96.0.42/32 dev eth0",
        "address add 10.96.0.42/32 dev kube-ipvs0",
        "END-OF-TEXT",
        "ipvsadm --set 900 120 300",
        "sysctl -q -p - <<'END-OF-TEXT'",
        "net/ipv4/vs/conntrack = 1",
        "END-OF-TEXT",
        "for name in $(ipset list -name); do case ' KUBE-CLUSTER-IP ' in",
        '*" $name "*) ;; *) ipset destroy "$name" ;; esac; done',
    ]


def test_what_the_tools_print_is_read(session: ScriptedSession) -> None:
    """Addresses that were bound, not the device's own link-local one; sysctls; timeouts."""
    printed = (
        "5: kube-ipvs0    inet 10.96.0.42/32 scope global kube-ipvs0\\       valid_lft forever\n"
        "5: kube-ipvs0    inet6 fe80::1/64 scope link \\       valid_lft forever\n"
        "--\nTimeout (tcp tcpfin udp): 900 120 300\n--\nnet/ipv4/vs/conntrack:1\n"
    )
    session.answer = lambda namespace, argv, stdin: ExecResult(0, printed, "")
    state = ipvs_state(session, session.read_node("node-a"))
    assert state.addresses == frozenset({"10.96.0.42/32 dev kube-ipvs0"})
    assert (state.sysctls, state.timeouts) == ("net/ipv4/vs/conntrack = 1\n", ("900", "120", "300"))


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
        (replace(IPVS, addresses=frozenset()), "addresses"),
        (replace(IPVS, sysctls="net/ipv4/vs/conntrack = 0\n"), "sysctls"),
        (replace(IPVS, timeouts=("5", "5", "5")), "timeouts"),
    ],
)
def test_what_differs_in_ipvs_mode_is_named(changed: IpvsState, named: str) -> None:
    """Each part by itself."""
    assert differing(Held("node-a", ipvs=IPVS), Held("node-a", ipvs=changed)) == (named,)
