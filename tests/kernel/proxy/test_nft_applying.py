"""Nftables mode as a process: what it sends, what it mends, what it leaves of other modes and they of it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

WEB, KEEP = ["10.244.1.10", "10.244.2.10"], ["10.244.1.20"]
CONFIG = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: 10.244.0.0/16
conntrack: {maxPerCore: 0, min: 0}
nftables: {minSyncPeriod: 1ms, syncPeriod: 500ms}
"""
FOREIGN = """\
*nat
:PREROUTING ACCEPT [7:70]
:USER - [0:0]
[5:50] -A PREROUTING -m comment --comment "made by a user" -j USER
COMMIT
*filter
:INPUT DROP [1:10]
[2:20] -A INPUT -i lo -j ACCEPT
COMMIT
"""
IPVS_MODE = """\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-LOAD-BALANCER - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ
COMMIT
*filter
:KUBE-IPVS-FILTER - [0:0]
:KUBE-NODE-PORT - [0:0]
-A INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
-A INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT
COMMIT
"""
"""Some of what ipvs mode leaves in iptables."""

Node = Any
Start = Callable[..., Any]
Write = Callable[..., Path]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of nftables mode that lets syncs follow each other closely."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def once(node: Node, mode: str, path: Path, *arguments: str) -> None:
    """Run kplab-proxy once in a mode."""
    command = node.proxy("--proxy-mode", mode, "--cluster-cidr", "10.244.0.0/16", "--backend", "nft",
                         "--manifest", str(path), "--once", *arguments)  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def tables(node: Node) -> str:
    """Return kube-proxy's two tables."""
    return "".join(node.run("nft", "list", "table", family, "kube-proxy", check=False) for family in ("ip", "ip6"))


def test_only_what_changed_is_sent(node: Node, start_proxy: Start, write_manifest: Write, config: Path) -> None:
    """A rule that somebody took out of another Service's chain stays out: that chain is not written."""
    path = write_manifest({"web": WEB, "keep": KEEP})
    proxy = start_proxy(node, "--config", str(config), "--manifest", str(path))
    first = proxy.report()
    chain = next(word for word in tables(node).split() if word.startswith("service-") and "/keep/" in word)
    node.run("nft", "flush", "chain", "ip", "kube-proxy", chain)
    write_manifest({"web": WEB[:1], "keep": KEEP})
    second = proxy.report()
    held = tables(node)

    assert (first["kind"], first["families"], first["error"]) == ("full", [4, 6], None)
    assert (second["kind"], second["families"], second["error"]) == ("partial", [4], None)
    assert "10.244.2.10" not in held
    assert "numgen random mod 1 map { 0 : 10.244.1.10 . 8080 }" in held
    assert "dnat ip to numgen random mod 1 map { 0 : 10.244.1.20" not in held


def test_a_failed_sync_is_followed_by_a_full_one(
    node: Node, start_proxy: Start, write_manifest: Write, config: Path
) -> None:
    """A table that somebody deleted makes the next change fail; after syncPeriod everything is written anew."""
    path = write_manifest({"web": WEB, "keep": KEEP})
    proxy = start_proxy(node, "--config", str(config), "--manifest", str(path))
    proxy.report()
    before = tables(node)
    node.run("nft", "delete", "table", "ip", "kube-proxy")
    write_manifest({"web": WEB[:1], "keep": KEEP})
    failed = proxy.report()
    repaired = proxy.report()
    write_manifest({"web": WEB, "keep": KEEP})
    proxy.report()

    assert failed["kind"] == "partial"
    assert "nft" in failed["error"]
    assert (repaired["kind"], repaired["families"], repaired["error"]) == ("full", [4], None)
    assert tables(node) == before


def test_a_stale_chain_is_emptied_and_later_deleted(
    node: Node, start_proxy: Start, write_manifest: Write, config: Path
) -> None:
    """A removed Service's chain is empty after its sync, and gone after one a second later."""
    path = write_manifest({"keep": KEEP, "web": WEB})
    proxy = start_proxy(node, "--config", str(config), "--manifest", str(path))
    proxy.report()
    write_manifest({"keep": KEEP})
    proxy.report()
    emptied = tables(node)
    begun = time.monotonic()
    extra = 30
    while "/web/" in tables(node) and time.monotonic() - begun < 10:
        extra += 1
        write_manifest({"keep": [*KEEP, f"10.244.1.{extra}"]})
        proxy.report()
    seconds = time.monotonic() - begun

    assert re.search(r"chain service-\w+-demo/web/tcp/ \{\s+\}", emptied)
    assert "/web/" not in tables(node)
    assert seconds > 0.9


def test_a_restart_corrects_what_is_there(node: Node, write_manifest: Write) -> None:
    """A first sync over the table of another run leaves what a fresh one leaves, but for empty chains."""
    once(node, "nftables", write_manifest({"web": WEB, "keep": KEEP, "gone": WEB}))
    node.run("nft", "add element ip kube-proxy service-ips { 10.96.0.99 . tcp . 80 : drop }")
    node.run("nft", "add element ip kube-proxy cluster-ips { 10.96.0.99 }")
    once(node, "nftables", write_manifest({"web": [], "keep": WEB}))
    over = re.sub(r"\tchain service-\S+ \{\n\t\}\n\n?", "", tables(node))
    node.run("nft", "flush", "ruleset")
    once(node, "nftables", write_manifest({"web": [], "keep": WEB}))

    assert sorted(_blocks(over)) == sorted(_blocks(tables(node)))


def _blocks(text: str) -> list[str]:
    return [block.strip("\n\t} ") for block in re.split(r"\n\n|\n\}\n", text)]


def test_nftables_mode_removes_iptables_mode(node: Node, write_manifest: Write) -> None:
    """Chains and jumps of iptables mode go, but KUBE-FIREWALL; foreign rules stay."""
    path = write_manifest({"web": WEB, "keep": KEEP})
    node.run("iptables-nft-restore", "--counters", stdin=FOREIGN)
    once(node, "iptables", path)
    once(node, "nftables", path)
    left = [line for family in (4, 6) for line in node.save("nft", family=family).splitlines() if "KUBE" in line]

    assert {line.split(" -m ")[0] for line in left} == {
        ":KUBE-FIREWALL - [0:0]", "-A INPUT -j KUBE-FIREWALL", "-A OUTPUT -j KUBE-FIREWALL",
        "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8",
    }  # fmt: skip
    assert '-A PREROUTING -m comment --comment "made by a user" -j USER' in node.save("nft", "nat")
    assert "service-ips" in tables(node)


def test_nftables_mode_removes_ipvs_mode(node: Node, write_manifest: Write) -> None:
    """The device with the addresses, chains with their jumps, and the ipsets go."""
    node.run("ipset", "create", "KUBE-CLUSTER-IP", "hash:ip,port")
    node.run("ipset", "create", "mine", "hash:ip")
    node.run("ip", "link", "add", "kube-ipvs0", "type", "bridge")
    node.run("iptables-nft-restore", "--noflush", stdin=IPVS_MODE)
    once(node, "nftables", write_manifest({"web": WEB}))

    assert "KUBE-" not in node.save("nft")
    assert node.run("ipset", "list", "-n").split() == ["mine"]
    assert "kube-ipvs0" not in node.run("ip", "link", "show")


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_iptables_mode_removes_nftables_mode(node: Node, write_manifest: Write, backend: str) -> None:
    """Only the tables kube-proxy, of both families; anybody else's stay."""
    path = write_manifest({"web": WEB})
    once(node, "nftables", path)
    node.run("nft", "add table inet mine")
    command = node.proxy("--backend", backend, "--manifest", str(path), "--once")
    subprocess.run(command, check=True, capture_output=True, timeout=60)

    assert tables(node) == ""
    assert "table inet mine" in node.run("nft", "list", "tables")


def test_cleanup_removes_every_mode(node: Node, write_manifest: Write) -> None:
    """--cleanup after nftables mode leaves no table, and needs no manifest."""
    once(node, "nftables", write_manifest({"web": WEB}))
    node.run(*node.own_proxy("--backend", "nft", "--cleanup"))

    assert "kube-proxy" not in node.run("nft", "list", "ruleset")
    assert "KUBE-" not in node.save("nft")


def test_stale_udp_flows_are_forgotten(node: Node, write_manifest: Write) -> None:
    """A flow to an endpoint that has gone is deleted; a flow to one that stays is kept."""
    once(node, "nftables", write_manifest({"dns": WEB}, protocol="UDP"))
    flow = (
        "conntrack -I -p udp -t 100 -u SEEN_REPLY -s 10.244.1.5 -d 10.96.0.20 --sport {port} --dport 80"
        " -r {by} -q 10.244.1.5 --reply-port-src 8080 --reply-port-dst {port}"
    )
    for port, by in ((1001, WEB[0]), (1002, WEB[1])):
        node.run(*flow.format(port=port, by=by).split())
    once(node, "nftables", write_manifest({"dns": WEB[:1]}, protocol="UDP"))
    left = node.run("conntrack", "-L", "-p", "udp")

    assert [port for port in (1001, 1002) if f"sport={port} dport=80 " in left] == [1001]


def test_a_missing_nft_names_its_package(node: Node, write_manifest: Write, tmp_path: Path) -> None:
    """Without nft on PATH the message says what to install; no traceback."""
    arguments = ("--proxy-mode", "nftables", "--manifest", str(write_manifest({"web": WEB})), "--once")
    command = node.enter("env", f"PATH={tmp_path}", *node.own_proxy(*arguments))
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 1
    assert "apt-get install nftables" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a namespace without the limit to compare with")
def test_large_states_are_equal_in_a_user_namespace(node: Node, tmp_path: Path) -> None:
    """400 Services, which nft cannot send at once in a user namespace, end up the same as where it can."""
    addresses = [f"10.244.1.{last}" for last in range(1, 5)]
    path = tmp_path / "large.yaml"
    path.write_text(_large(400, addresses))
    once(node, "nftables", path)
    script = 'mount -t tmpfs tmpfs /run && ip addr add 192.168.50.10/24 dev lo && "$@" && exec nft list ruleset'
    arguments = ("--proxy-mode", "nftables", "--cluster-cidr", "10.244.0.0/16", "--manifest", str(path), "--once")
    command = ["unshare", "-Urnm", "sh", "-c", script, "sh", *node.own_proxy(*arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert _counted(ended.stdout) == _counted(node.run("nft", "list", "ruleset"))


def _counted(text: str) -> list[str]:
    """Return every line, elements one by one, sorted."""
    lines = [part.strip(" \t\n{}") for part in re.split(r"[\n,]|elements = ", text)]
    return sorted(line for line in lines if line)


def _large(services: int, addresses: list[str]) -> str:
    node = (
        "apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\n"
        "status: {addresses: [{type: InternalIP, address: 192.168.50.10}]}\n"
    )
    parts = [node]
    for number in range(services):
        parts.append(
            f"apiVersion: v1\nkind: Service\nmetadata: {{namespace: demo, name: s{number}}}\n"
            f"spec: {{clusterIP: 10.96.{number // 250}.{number % 250 + 1}, ports: [{{port: 80, protocol: TCP}}]}}\n"
        )
        endpoints = ", ".join(f"{{addresses: [{address}]}}" for address in addresses)
        parts.append(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
            f"metadata: {{namespace: demo, name: s{number}-1, labels: {{kubernetes.io/service-name: s{number}}}}}\n"
            f'ports: [{{name: "", port: 8080, protocol: TCP}}]\nendpoints: [{endpoints}]\n'
        )
    return "---\n".join(parts)
