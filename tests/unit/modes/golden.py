"""The scenarios that the real kube-proxy v1.36.2 was watched in: states, configurations, and what it ran."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from kplab.model.cluster import Cluster, Family
from kplab.model.config import ProxyConfig, parse_config
from kplab.model.loader import load_cluster
from kplab.modes.facts import NodeFacts

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
FAMILIES: tuple[Family, ...] = (4, 6)
NODE = "node-a"
FACTS = NodeFacts(addresses=("127.0.0.1", "192.168.50.10", "::1", "fd00:192:168:50::10"))
SCENARIOS = sorted(path.parent.name for path in GOLDEN.glob("*/manifest.yaml"))
STEPS = sorted((path.parent.name, path.stem) for path in GOLDEN.glob("*/step*.yaml"))
"""The later states: scenario and stem, like ("steps-service", "step2")."""
_PERIODS = {"minSyncPeriod": "100ms", "syncPeriod": "30s"}
_BASE: dict[str, Any] = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "clusterCIDR": "10.244.0.0/16",
    "detectLocalMode": "ClusterCIDR",
    "hostnameOverride": NODE,
    "bindAddress": "0.0.0.0",
    "healthzBindAddress": "127.0.0.1:10256",
    "metricsBindAddress": "127.0.0.1:10249",
    "conntrack": {"maxPerCore": 0, "min": 0},
    "oomScoreAdj": 0,
    "iptables": _PERIODS,
    "nftables": _PERIODS,
    "ipvs": _PERIODS,
}


@cache
def config_of(scenario: str) -> ProxyConfig:
    """The configuration that a scenario ran with: the base, and what its config.json changes."""
    path = GOLDEN / scenario / "config.json"
    changes = json.loads(path.read_text()) if path.exists() else {}
    merged = dict(_BASE)
    for name, value in changes.items():
        if not name.startswith("_"):
            merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    return parse_config(json.dumps(merged, indent=1), f"{scenario}/config.json")


@cache
def state(scenario: str, stem: str) -> Cluster:
    """The cluster of one step; the first one's stem is "manifest"."""
    return load_cluster(GOLDEN / scenario / f"{stem}.yaml")


def previous_stem(stem: str) -> str:
    """The state before a step."""
    number = int(stem.removeprefix("step"))
    return "manifest" if number == 2 else f"step{number - 1}"


def dump_path(scenario: str, mode: str, stem: str, ending: str) -> Path:
    """Where a step's dump lies: `MODE.ending`, `MODE.stepN.ending`."""
    part = "" if stem == "manifest" else f".{stem}"
    return GOLDEN / scenario / f"{mode}{part}.{ending}"


def commands(scenario: str, mode: str, stem: str) -> Iterator[tuple[str, str]]:
    """Every command of a step that was noted, with its standard input."""
    text = dump_path(scenario, mode, stem, "writes").read_text()
    for piece in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, given = piece.partition("\n")
        yield command, given
