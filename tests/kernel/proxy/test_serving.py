"""What the proxy answers over HTTP, against what the real kube-proxy answered in the same scenario."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
CONFIG = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clusterCIDR: 10.244.0.0/16
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0}
"""

Node = Any
Start = Callable[..., Any]


def listening(node: Node, expected: list[str], limit: float = 10.0) -> list[str]:
    """Wait until the node listens on these addresses; return those that it listens on."""
    end = time.monotonic() + limit
    while True:
        lines = node.run("ss", "-Hltn").splitlines()
        found = sorted(f"tcp {line.split()[3]}" for line in lines)
        if found == expected or time.monotonic() > end:
            return found


def series(text: str) -> dict[str, float]:
    """Read Prometheus' text format."""
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
@pytest.mark.parametrize(
    "scenario", ["lb-local-with", "nodeport-local-without", "internal-local-without", "clusterip-1ep"]
)
def test_answers_are_kube_proxys(node: Node, start_proxy: Start, tmp_path: Path, scenario: str, mode: str) -> None:
    """Ports, /healthz, /livez, /proxyMode, metrics, and the healthCheckNodePort's answer."""
    stem = "nftables" if mode == "nftables" else "iptables-nft"
    state = json.loads((GOLDEN / scenario / f"{stem}.state.json").read_text())
    expected = sorted(set(state["listening"]) - {"tcp 127.0.0.1:8001"})
    config = tmp_path / "config.yaml"
    config.write_text(f"{CONFIG}mode: {mode}\n")
    manifest = str(GOLDEN / scenario / "manifest.yaml")
    start_proxy(node, "--backend", "nft", "--config", str(config), "--manifest", manifest).report()

    assert listening(node, expected) == expected
    code = node.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:10256/healthz")
    assert int(code) == state["healthz"]
    assert sorted(json.loads(node.run("curl", "-s", "http://127.0.0.1:10256/livez"))) == ["currentTime", "lastUpdated"]
    assert node.run("curl", "-s", "http://127.0.0.1:10249/proxyMode") == state["proxyMode"]
    metrics = series(node.run("curl", "-s", "http://127.0.0.1:10249/metrics"))
    assert {name: metrics[name] for name in state["metrics"]} == state["metrics"]
    assert metrics['kubeproxy_proxy_healthz_total{code="200"}'] == 1.0
    for port, answer in state.get("healthCheckNodePort", {}).items():
        host = "192.168.50.10" if mode == "nftables" else "127.0.0.1"
        body = node.run("curl", "-s", "-w", "\n%{http_code}", f"http://{host}:{port}/")
        told, _, code = body.rpartition("\n")
        assert (int(code), json.loads(told)) == (answer["code"], answer["body"])


def test_a_health_check_port_follows_the_manifest(node: Node, start_proxy: Start, tmp_path: Path) -> None:
    """Without a local endpoint it answers 503; without the Service it closes."""
    manifest = tmp_path / "manifest.yaml"
    text = (GOLDEN / "lb-local-with" / "manifest.yaml").read_text()
    manifest.write_text(text)
    arguments = ("--healthz-bind-address=127.0.0.1:10256", "--iptables-min-sync-period=1ms")
    proxy = start_proxy(node, "--backend", "nft", "--manifest", str(manifest), *arguments)
    proxy.report()
    fixed = ["tcp 127.0.0.1:10249", "tcp 127.0.0.1:10256"]
    listening(node, ["tcp 0.0.0.0:32000", *fixed])
    manifest.write_text(text.replace("nodeName: node-a", "nodeName: node-b"))
    proxy.report()
    code = node.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:32000/")
    manifest.write_text((GOLDEN / "clusterip-1ep" / "manifest.yaml").read_text())
    proxy.report()

    assert code == "503"
    assert listening(node, fixed) == fixed
