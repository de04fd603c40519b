"""What kplab-proxy does to a kernel that holds other people's rules too, how it cleans up, and where it refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kplab.modes.names import service_chain

pytestmark = pytest.mark.kernel

WEB, KEEP = ["10.244.1.10", "10.244.2.10"], ["10.244.1.20"]
PROXY = str(Path(sys.executable).with_name("kplab-proxy"))

FOREIGN = """\
*nat
:PREROUTING ACCEPT [7:70]
:POSTROUTING ACCEPT [3:30]
:USER - [0:0]
:KUBE-SVC-LEFTOVERLEFTOVER - [0:0]
[5:50] -A PREROUTING -m comment --comment "made by a user" -j USER
[4:40] -A POSTROUTING -s 172.16.0.0/12 -j MASQUERADE
[9:90] -A USER -d 198.51.100.1/32 -j RETURN
-A KUBE-SVC-LEFTOVERLEFTOVER -j RETURN
COMMIT
*filter
:INPUT DROP [1:10]
:USER - [0:0]
[2:20] -A INPUT -i lo -j ACCEPT
[6:60] -A USER -p udp -m udp --dport 53 -j ACCEPT
COMMIT
"""
"""Somebody else's rules, with counters, and a chain that an earlier kube-proxy forgot."""

Node = Any
Write = Callable[..., Path]

backends = pytest.mark.parametrize("backend", ["nft", "legacy"])


def once(node: Node, backend: str, path: Path, *arguments: str) -> None:
    """Run kplab-proxy once."""
    ended = subprocess.run(
        node.proxy("--backend", backend, "--manifest", str(path), "--once", *arguments),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")


def everything(node: Node, backend: str) -> list[str]:
    """Return both families' tables, without the counters that the node's own traffic moves."""
    texts = [node.save(backend, table, family=f) for f in (4, 6) for table in ("nat", "filter", "mangle")]
    return [re.sub(r"\[\d+:\d+\]", "[0:0]", text) for text in texts]


@backends
def test_both_ways_leave_the_same_beside_foreign_rules(
    node: Node, another_node: Node, write_manifest: Write, backend: str
) -> None:
    """Foreign chains, their places and counters are the same after the default way as after kube-proxy's commands."""
    path = write_manifest({"web": WEB, "keep": KEEP})
    for each in (node, another_node):
        each.run(f"iptables-{backend}-restore", "--counters", stdin=FOREIGN)
    once(node, backend, path)
    once(another_node, backend, path, "--like-upstream")
    held = node.save(backend, counters=True)

    for table in ("nat", "filter", "mangle"):
        expected = another_node.save(backend, table, counters=True).splitlines()
        assert sorted(node.save(backend, table, counters=True).splitlines()) == sorted(expected)
    for line in ("[9:90] -A USER -d 198.51.100.1/32 -j RETURN", "[6:60] -A USER -p udp -m udp --dport 53 -j ACCEPT"):
        assert line in held
    prerouting = [line for line in node.save(backend, "nat").splitlines() if line.startswith("-A PREROUTING")]
    assert [line.rpartition(" ")[2] for line in prerouting] == ["KUBE-SERVICES", "USER"]
    assert "LEFTOVER" not in held


@backends
def test_a_second_start_changes_nothing(node: Node, write_manifest: Write, backend: str) -> None:
    """A full sync over its own rules, with both ways, leaves the kernel as it was: no jump is doubled."""
    path = write_manifest({"web": WEB, "keep": KEEP})
    once(node, backend, path)
    before = everything(node, backend)
    once(node, backend, path)
    direct = everything(node, backend)
    once(node, backend, path, "--like-upstream")

    assert direct == before
    assert everything(node, backend) == before


@backends
def test_cleanup_removes_what_iptables_mode_made(node: Node, write_manifest: Write, backend: str) -> None:
    """--cleanup takes chains and jumps away; foreign rules stay, and so does KUBE-FIREWALL, which kubelet owns too."""
    node.run(f"iptables-{backend}-restore", "--counters", stdin=FOREIGN)
    once(node, backend, write_manifest({"web": WEB, "keep": KEEP}))
    node.run(*node.own_proxy("--backend", backend, "--cleanup"))
    left = [line for line in node.save(backend).splitlines() if "KUBE" in line]

    assert {line.split(" -m ")[0] for line in left} == {
        ":KUBE-FIREWALL - [0:0]", "-A INPUT -j KUBE-FIREWALL", "-A OUTPUT -j KUBE-FIREWALL",
        "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8",
    }  # fmt: skip
    assert '-A PREROUTING -m comment --comment "made by a user" -j USER' in node.save(backend, "nat")


def test_stale_udp_flows_are_forgotten(node: Node, write_manifest: Write) -> None:
    """A flow to an endpoint that has gone is deleted; flows to those that stay, or to no Service, are kept."""
    flow = (
        "conntrack -I -p udp -t 100 -u SEEN_REPLY -s 10.244.1.5 -d {to} --sport {port} --dport 80"
        " -r {by} -q 10.244.1.5 --reply-port-src 8080 --reply-port-dst {port}"
    )
    once(node, "nft", write_manifest({"dns": WEB}, protocol="UDP"))
    for port, to, by in (
        (1001, "10.96.0.20", WEB[0]), (1002, "10.96.0.20", WEB[1]), (1003, "203.0.113.9", "10.244.1.99"),
    ):  # fmt: skip
        node.run(*flow.format(to=to, by=by, port=port).split())
    once(node, "nft", write_manifest({"dns": WEB[:1]}, protocol="UDP"))
    left = node.run("conntrack", "-L", "-p", "udp")

    assert [port for port in (1001, 1002, 1003) if f"sport={port} dport=80 " in left] == [1001, 1003]


def test_the_back_end_is_chosen_by_kubelets_hint(node: Node, write_manifest: Write) -> None:
    """Without --backend the one that holds KUBE-IPTABLES-HINT is taken, else iptables-nft."""
    path = str(write_manifest({"web": WEB}))
    node.run("iptables-legacy", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT")
    node.run(*node.own_proxy("--manifest", path, "--once"))

    assert service_chain("KUBE-SVC-", "demo/web", "tcp") in node.save("legacy", "nat")
    assert "KUBE" not in node.save("nft")


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--manifest", "/nonexistent"], 2, "/nonexistent"),
        ([], 2, "no --manifest"),
        (["--manifest", "x", "--proxy-mode", "turbo"], 2, "turbo"),
        (["--manifest", "x", "--config", "/nonexistent"], 2, "/nonexistent"),
        (["--manifest", "x", "--iptables-masquerade-bit", "99"], 2, "masqueradeBit"),
        (["--manifest", "x", "--no-such-flag"], 2, "--no-such-flag"),
    ],
)
def test_a_mistake_is_one_message(node: Node, arguments: list[str], status: int, told: str) -> None:
    """Wrong flags and files give a message and an exit status, no traceback, and no rule."""
    ended = subprocess.run(
        node.proxy("--backend", "nft", *arguments), capture_output=True, text=True, timeout=30, check=False
    )

    assert ended.returncode == status
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "KUBE" not in node.save("nft")


def test_a_missing_program_names_its_package(node: Node, write_manifest: Write, tmp_path: Path) -> None:
    """Without iptables on PATH the message says what to install."""
    path = str(write_manifest({"web": WEB}))
    command = node.enter("env", f"PATH={tmp_path}", *node.own_proxy("--backend", "nft", "--manifest", path, "--once"))
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 1
    assert "apt-get install iptables" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(
    not Path("/proc/sys/net/core/netdev_budget").exists(),
    reason="the tests do not run in the machine's first namespace",
)
@pytest.mark.parametrize("arguments", [["--once"], ["--cleanup"], ["--once", "--like-upstream"]])
def test_it_refuses_the_hosts_own_namespace(write_manifest: Write, arguments: list[str]) -> None:
    """Run outside any namespace of its own it exits with a message, and the host's rules and sysctls are untouched."""
    path = str(write_manifest({"web": WEB}))
    before = _host_state()
    ended = subprocess.run(
        [PROXY, "--manifest", path, *arguments], capture_output=True, text=True, timeout=30, check=False
    )

    assert ended.returncode == 1
    assert "refused to write rules into the host's own network namespace" in ended.stderr
    assert _host_state() == before


def _host_state() -> tuple[str, ...]:
    """What a proxy would have changed; nft shows the rules of iptables-nft too (root only)."""
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=False).stdout
    names = Path("/proc/net/ip_tables_names")
    legacy = names.read_text() if os.access(names, os.R_OK) else ""
    return rules, legacy, Path("/proc/sys/net/ipv4/conf/all/route_localnet").read_text()
