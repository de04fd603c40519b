"""kube-proxy's flags and configuration file, as kplab-proxy takes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kplab.errors import ConfigError
from kplab.proxy.options import parse_options

pytestmark = pytest.mark.unit

CONFIG = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "clusterCIDR": "10.1.0.0/16",
    "hostnameOverride": "from-file",
    "iptables": {"syncPeriod": "5s"},
}


def test_flags_become_a_configuration() -> None:
    """Each flag of kube-proxy's lands where the configuration file has it."""
    options = parse_options(
        [
            "--manifest", "m.yaml", "--proxy-mode", "iptables", "--hostname-override", "node-a",
            "--cluster-cidr", "10.244.0.0/16,fd00:10:244::/56", "--masquerade-all", "--iptables-masquerade-bit=15",
            "--iptables-localhost-nodeports=false", "--iptables-sync-period", "10s",
            "--iptables-min-sync-period", "100ms", "--nodeport-addresses", "192.168.50.0/24",
            "--detect-local-mode", "BridgeInterface", "--pod-bridge-interface", "cni0", "--backend", "legacy", "--once",
        ]
    )  # fmt: skip
    config = options.config

    assert options.node == config.hostname_override == "node-a"
    assert (options.manifest, options.backend, options.once) == (Path("m.yaml"), "legacy", True)
    assert config.cluster_cidrs == ("10.244.0.0/16", "fd00:10:244::/56")
    assert (config.detect_local_mode, config.detect_local.bridge_interface) == ("BridgeInterface", "cni0")
    assert config.node_port_addresses == ("192.168.50.0/24",)
    assert (config.iptables.masquerade_all, config.iptables.masquerade_bit) == (True, 15)
    assert (config.iptables.localhost_node_ports, config.iptables.sync_period) == (False, 10.0)
    assert config.iptables.min_sync_period == 0.1


def test_a_configuration_file_makes_flags_ignored_but_for_the_hostname(tmp_path: Path) -> None:
    """As kube-proxy does it."""
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(CONFIG))
    arguments = ["--manifest", "m", "--config", str(file), "--cluster-cidr", "10.9.0.0/16"]

    assert parse_options(arguments).node == "from-file"
    assert parse_options(arguments).config.cluster_cidrs == ("10.1.0.0/16",)
    assert parse_options([*arguments, "--hostname-override", "node-b"]).node == "node-b"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--once"], "--manifest"),
        (["--manifest", "m", "--proxy-mode", "turbo"], "turbo"),
        (["--manifest", "m", "--proxy-mode", "nftables", "--like-upstream"], "--like-upstream"),
        (["--manifest", "m", "--cluster-cidr", "10.0.0.0/99"], "clusterCIDR"),
        (["--manifest", "m", "--feature-gates", "Nonsense"], "Nonsense"),
        (["--manifest", "m", "--iptables-sync-period", "soon"], "syncPeriod"),
    ],
)
def test_what_cannot_be_used_is_named(arguments: list[str], told: str) -> None:
    """The message names the flag, or the field that it stands for."""
    with pytest.raises(ConfigError, match=told):
        parse_options(arguments)


def test_masquerading_all_is_every_modes_flag() -> None:
    """--masquerade-all counts in nftables mode as well; periods are those of the mode's own section."""
    options = parse_options(["--manifest", "m", "--proxy-mode", "nftables", "--masquerade-all"])

    assert options.config.nftables.masquerade_all
    assert options.sync_period == options.config.nftables.sync_period
