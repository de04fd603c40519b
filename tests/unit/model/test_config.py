"""KubeProxyConfiguration v1alpha1: what is read, what defaults mean, and how a wrong file is refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kplab.errors import ConfigError
from kplab.model.config import ProxyConfig, load_config, parse_config, parse_duration

pytestmark = pytest.mark.unit

FILE = "config.yaml"
HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
KUBEADM = (
    HEAD
    + """\
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
"""
)


def parse(text: str) -> ProxyConfig:
    """Read text as `config.yaml`."""
    return parse_config(text, FILE)


def refused(text: str) -> str:
    """The message that a text is refused with."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


def test_kubeadms_own_file_is_accepted_and_means_the_defaults() -> None:
    """Nulls, empty strings and zero durations stand for kube-proxy's defaults."""
    assert parse(KUBEADM) == ProxyConfig(cluster_cidrs=("10.244.0.0/16",))
    assert parse(HEAD) == ProxyConfig()
    default = ProxyConfig()
    assert (default.mode, default.detect_local_mode) == ("iptables", "ClusterCIDR")
    assert (default.iptables.masquerade_bit, default.iptables.localhost_node_ports) == (14, True)
    assert (default.iptables.sync_period, default.iptables.min_sync_period) == (30, 1)


def test_what_changes_rules_is_kept() -> None:
    """Every field that a compiler reads arrives in it."""
    config = parse(
        HEAD
        + "mode: nftables\nclusterCIDR: 10.244.0.0/16,fd00:10:244::/56\ndetectLocalMode: BridgeInterface\n"
        + "detectLocal: {bridgeInterface: cni0}\nhostnameOverride: Node-A\nnodePortAddresses: [192.168.50.7/24]\n"
        + "iptables: {masqueradeBit: 0, masqueradeAll: true, localhostNodePorts: false, syncPeriod: 1m30s}\n"
        + "conntrack: {tcpBeLiberal: true, maxPerCore: 0}\nfeatureGates: {Something: false}\n"
        + "ipvs: {scheduler: sh, strictARP: true, excludeCIDRs: [10.0.0.0/8], tcpTimeout: 1000s}\n"
    )
    assert config.mode == "nftables"
    assert config.cluster_cidr(4) == "10.244.0.0/16"
    assert config.cluster_cidr(6) == "fd00:10:244::/56"
    assert config.detect_local.bridge_interface == "cni0"
    assert config.hostname_override == "node-a"
    assert config.node_port_addresses == ("192.168.50.0/24",)
    assert (config.iptables.masquerade_bit, config.iptables.masquerade_all) == (0, True)
    assert (config.iptables.localhost_node_ports, config.iptables.sync_period) == (False, 90)
    assert config.conntrack.tcp_be_liberal
    assert config.conntrack.max_per_core == 0
    assert (config.ipvs.scheduler, config.ipvs.strict_arp, config.ipvs.tcp_timeout) == ("sh", True, 1000)
    assert config.ipvs.exclude_cidrs == ("10.0.0.0/8",)
    assert not config.gate("Something", default=True)
    assert parse(HEAD + "nodePortAddresses: [primary]\n").node_port_addresses == ("primary",)


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ("masqueradeAll: true\n", "config.yaml:3: masqueradeAll: there is no such field"),
        ("clusterCidr: 10.0.0.0/8\n", "Did you mean clusterCIDR?"),
        ("iptables:\n  syncperiod: 1s\n", "config.yaml:4: iptables.syncperiod: there is no such field"),
        ("iptables:\n  masqueradeBit: 32\n", "config.yaml:4: iptables.masqueradeBit: expected a number from 0 to 31"),
        ("iptables: {syncPeriod: 30}\n", 'write "30", in quotes'),
        ("iptables: {syncPeriod: 30 s}\n", 'expected a duration, such as "30s" or "100ms", found \'30 s\''),
        ("iptables: {syncPeriod: -1s}\n", "expected a duration"),
        ("iptables: {syncPeriod: 1s, minSyncPeriod: 2s}\n", "2 s is more than syncPeriod, 1 s"),
        ("iptables: 7\n", "iptables: expected a mapping"),
        ("mode: kernelspace\n", "mode: expected iptables, ipvs, nftables, userspace or ebpf, found 'kernelspace'"),
        ("clusterCIDR: 10.244.0.0\n", "clusterCIDR: expected a CIDR, or one of each family"),
        ("clusterCIDR: 10.0.0.0/8,11.0.0.0/8\n", "one of each family"),
        ("detectLocalMode: BridgeInterface\n", "detectLocal.bridgeInterface: detectLocalMode BridgeInterface needs it"),
        ("detectLocalMode: InterfaceNamePrefix\n", "detectLocal.interfaceNamePrefix"),
        ("detectLocal: {bridgeInterface: a b}\n", "expected an interface's name"),
        ("nodePortAddresses: [primary, 10.0.0.0/8]\n", "nodePortAddresses[0]: expected a CIDR"),
        ("bindAddress: everywhere\n", "bindAddress: expected an IPv4 or IPv6 address"),
        ("featureGates: {A: maybe}\n", "featureGates.A: expected true or false"),
        ("mode: ipvs\nmode: iptables\n", "config.yaml:4: mode: this field is given twice"),
        ("mode: ipvs\n---\nmode: iptables\n", "expected one document, found 2"),
        ("\tmode: ipvs\n", "there is a tab on this line"),
    ],
)
def test_a_wrong_field_is_named(rest: str, says: str) -> None:
    """File, line, field, what was expected; an unknown field comes with the nearest known name."""
    assert says in refused(HEAD + rest)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is empty"),
        ("hello", "expected a KubeProxyConfiguration, found 'hello'"),
        ("kind: KubeProxyConfiguration\n", "apiVersion: expected kubeproxy.config.k8s.io/v1alpha1, found nothing"),
        ("apiVersion: v1\nkind: ConfigMap\n", "the text below its data, config.conf"),
        (HEAD.replace("v1alpha1", "v1"), "expected kubeproxy.config.k8s.io/v1alpha1"),
        ("[" * 50_000, "nested more than"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_no_configuration_says_so(text: str, says: str) -> None:
    """Another kind, another version, no YAML."""
    assert says in refused(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("100ms", 0.1),
        ("1h15m", 4500),
        ("1.5s", 1.5),
        ("0", 0),
        ("0s", 0),
        ("-2m", -120),
        ("250us", 0.00025),
    ],
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    """As Go's time.ParseDuration reads them."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "30", "s", "30S", "1d", "1 s", ".s", "1s2", "--1s"])
def test_what_is_no_duration(text: str) -> None:
    """A number needs its unit."""
    assert parse_duration(text) is None


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    """Missing, a folder, binary, huge; and one that is fine, with a byte order mark."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    huge = tmp_path / "huge"
    huge.write_bytes(b" " * (1024 * 1024 + 1))
    for path, says in (
        (tmp_path / "no", "No such file"),
        (tmp_path, "Is a directory"),
        (binary, "UTF-8"),
        (huge, "larger"),
    ):
        with pytest.raises(ConfigError, match=says):
            load_config(path)
    good = tmp_path / "good"
    good.write_text("\ufeff" + KUBEADM)
    assert load_config(good).cluster_cidrs == ("10.244.0.0/16",)


LINES = KUBEADM.split("\n")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(LINES) - 1), st.text(st.characters(), max_size=12)), max_size=4),
    st.booleans(),
)
def test_a_mutated_configuration_raises_nothing_but_its_own_error(
    changes: list[tuple[int, str]], keep_keys: bool
) -> None:
    """Whatever stands in a value, or in a line: a configuration or a ConfigError."""
    lines = list(LINES)
    for at, text in changes:
        key = lines[at].partition(":")[0]
        lines[at] = f"{key}: {text}" if keep_keys else text
    with suppress(ConfigError):
        assert parse("\n".join(lines)).mode in ("iptables", "ipvs", "nftables")
