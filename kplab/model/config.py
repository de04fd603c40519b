"""A KubeProxyConfiguration v1alpha1 file (YAML or JSON) -> `ProxyConfig`.

Every field of `kubeproxy.config.k8s.io/v1alpha1` is known by name, so that a file from a kubeadm cluster is
accepted as it is; what changes rules is kept, the rest is only checked for its name. As in kube-proxy
(pkg/proxy/apis/config/v1alpha1/defaults.go), null, "", and a duration of zero mean the default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar, cast

from yaml.nodes import MappingNode, Node, ScalarNode

from kplab.errors import ConfigError
from kplab.model.manifest_values import canonical_address, canonical_cidr
from kplab.model.proxy_config import (
    PRIMARY,
    ConntrackConfig,
    DetectLocal,
    DetectLocalMode,
    IptablesConfig,
    IpvsConfig,
    Mode,
    NftablesConfig,
    ProxyConfig,
)
from kplab.model.yaml_reader import Fields, Reader, describe

__all__ = [
    "API_VERSION", "KIND", "PRIMARY", "ConntrackConfig", "DetectLocal", "DetectLocalMode", "IptablesConfig",
    "IpvsConfig", "Mode", "NftablesConfig", "ProxyConfig", "load_config", "parse_config", "parse_duration",
    "split_cluster_cidr",
]  # fmt: skip

API_VERSION = "kubeproxy.config.k8s.io/v1alpha1"
KIND = "KubeProxyConfiguration"
MODES = ("iptables", "ipvs", "nftables", "userspace", "ebpf")
DETECT_LOCAL_MODES = ("ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")
LARGEST_FILE = 1024 * 1024

FIELDS = (
    "apiVersion", "bindAddress", "bindAddressHardFail", "clientConnection", "clusterCIDR", "configSyncPeriod",
    "conntrack", "detectLocal", "detectLocalMode", "enableProfiling", "featureGates", "healthzBindAddress",
    "hostnameOverride", "iptables", "ipvs", "kind", "logging", "metricsBindAddress", "mode", "nftables",
    "nodePortAddresses", "oomScoreAdj", "portRange", "showHiddenMetricsForVersion", "udpIdleTimeout",
    "windowsRunAsService", "winkernel",
)  # fmt: skip
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "iptables": ("localhostNodePorts", "masqueradeAll", "masqueradeBit", "minSyncPeriod", "syncPeriod"),
    "nftables": ("masqueradeAll", "masqueradeBit", "minSyncPeriod", "syncPeriod"),
    "ipvs": (
        "excludeCIDRs", "minSyncPeriod", "scheduler", "strictARP", "syncPeriod", "tcpFinTimeout", "tcpTimeout",
        "udpTimeout",
    ),
    "conntrack": (
        "maxPerCore", "min", "tcpBeLiberal", "tcpCloseWaitTimeout", "tcpEstablishedTimeout", "udpStreamTimeout",
        "udpTimeout",
    ),
    "detectLocal": ("bridgeInterface", "interfaceNamePrefix"),
    "clientConnection": ("acceptContentTypes", "burst", "contentType", "kubeconfig", "qps"),
    "logging": ("flushFrequency", "format", "options", "verbosity", "vmodule"),
    "winkernel": ("enableDSR", "forwardHealthCheckVip", "networkName", "rootHnsEndpointName", "sourceVip"),
}  # fmt: skip
"""The fields of each section."""

_INTERFACE = re.compile(r"[A-Za-z0-9_.@-]{1,15}")
_HOSTNAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?")
_DURATION = re.compile(r"[-+]?(0|([0-9]{1,12}(\.[0-9]{0,9})?(ns|us|µs|ms|s|m|h))+)")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_GIANT = 2**31 - 1

T = TypeVar("T")


def load_config(path: Path) -> ProxyConfig:
    """Read a configuration file; raises ConfigError."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigError(f"{path}: cannot be read", f"it is larger than {LARGEST_FILE:,} bytes")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read", error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        hint = "A configuration is YAML or JSON text; is this the right file?"
        raise ConfigError(f"{path}: cannot be read", f"byte {error.start} is not UTF-8 text", hint) from error
    return parse_config(text, str(path))


def parse_config(text: str, file: str) -> ProxyConfig:
    """Read a configuration's text; `file` is what messages call it. Raises ConfigError."""
    reader = Reader(file, 0, len(text), lambda where, happened, hint, line, path: ConfigError(where, happened, hint))
    roots = reader.compose(text)
    if len(roots) != 1:
        happened = "it is empty" if not roots else f"expected one document, found {len(roots)}"
        raise ConfigError(f"{file}: this is not a {KIND}", happened, f"It begins with apiVersion: {API_VERSION}")
    root = roots[0]
    _check_kind(reader, root)
    return _read(reader, root, reader.fields(root, "", FIELDS))


def parse_duration(text: str) -> float | None:
    """Return the seconds of a duration as Go spells it ("30s", "100ms", "1h15m"), or None when it is not one."""
    if not _DURATION.fullmatch(text):
        return None
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    return -seconds if text.startswith("-") else seconds


def split_cluster_cidr(text: str) -> tuple[str, ...] | None:
    """Return the CIDRs of a `clusterCIDR` in canonical text: one of each family at most; None when it is wrong."""
    found = [canonical_cidr(part.strip()) for part in text.split(",")] if text else []
    good = tuple(cidr for cidr in found if cidr is not None)
    families = [":" in cidr for cidr in good]
    return good if len(good) == len(found) and len(set(families)) == len(families) else None


def _check_kind(reader: Reader, root: Node) -> None:
    if not isinstance(root, MappingNode):
        reader.refuse(root, "", f"expected a {KIND}, found {describe(root)}")
    fields = reader.fields(root, "")
    for name, expected in (("kind", KIND), ("apiVersion", API_VERSION)):
        node = fields.get(name)
        if node is None:
            reader.refuse(root, name, f"expected {expected}, found nothing")
        hint = ""
        if isinstance(node, ScalarNode) and node.value == "ConfigMap":
            hint = "This is kubeadm's ConfigMap; the configuration is the text below its data, config.conf."
        if not isinstance(node, ScalarNode) or node.value != expected:
            reader.expected(node, name, expected, hint)


def _read(reader: Reader, root: Node, fields: Fields) -> ProxyConfig:
    sections = {
        name: reader.fields(fields[name], name, known) if name in fields else {} for name, known in SECTIONS.items()
    }
    get = _Getter(reader)
    mode = get.choice(fields, "mode", "", MODES, "iptables")
    detect = get.choice(fields, "detectLocalMode", "", DETECT_LOCAL_MODES, "ClusterCIDR")
    local = sections["detectLocal"]
    config = ProxyConfig(
        mode=cast("Mode", mode),
        cluster_cidrs=get.value(fields, "clusterCIDR", "", _cluster_cidr, ()),
        detect_local_mode=cast("DetectLocalMode", detect),
        detect_local=DetectLocal(
            get.value(local, "bridgeInterface", "detectLocal", _interface, ""),
            get.value(local, "interfaceNamePrefix", "detectLocal", _interface, ""),
        ),
        hostname_override=get.value(fields, "hostnameOverride", "", _hostname, ""),
        bind_address=get.value(fields, "bindAddress", "", _address, ProxyConfig().bind_address),
        node_port_addresses=_node_port_addresses(reader, fields),
        iptables=_iptables(get, sections["iptables"]),
        nftables=_nftables(get, sections["nftables"]),
        ipvs=_ipvs(get, sections["ipvs"]),
        conntrack=_conntrack(get, sections["conntrack"]),
        feature_gates=_gates(reader, fields),
        healthz_bind_address=get.text(fields, "healthzBindAddress", "", ProxyConfig().healthz_bind_address),
        metrics_bind_address=get.text(fields, "metricsBindAddress", "", ProxyConfig().metrics_bind_address),
    )
    _check(reader, root, fields, config)
    return config


class _Getter:
    """Reads one field of a section, or gives its default where it is not given, null or ""."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def value(self, fields: Fields, name: str, section: str, read: Callable[[Reader, Node, str], T], default: T) -> T:
        node = fields.get(name)
        if node is None or (isinstance(node, ScalarNode) and node.value == ""):
            return default
        return read(self.reader, node, f"{section}.{name}" if section else name)

    def text(self, fields: Fields, name: str, section: str, default: str) -> str:
        return self.value(fields, name, section, Reader.text, default)

    def choice(self, fields: Fields, name: str, section: str, options: tuple[str, ...], default: str) -> str:
        return self.value(fields, name, section, lambda r, node, path: r.choice(node, path, options), default)

    def boolean(self, fields: Fields, name: str, section: str, default: bool) -> bool:
        return self.value(fields, name, section, Reader.boolean, default)

    def integer(self, fields: Fields, name: str, section: str, high: int, default: int) -> int:
        return self.value(fields, name, section, lambda r, node, path: r.integer(node, path, 0, high), default)

    def seconds(self, fields: Fields, name: str, section: str, default: float) -> float:
        return self.value(fields, name, section, _duration, default) or default


def _iptables(get: _Getter, fields: Fields) -> IptablesConfig:
    default = IptablesConfig()
    return IptablesConfig(
        masquerade_bit=get.integer(fields, "masqueradeBit", "iptables", 31, default.masquerade_bit),
        masquerade_all=get.boolean(fields, "masqueradeAll", "iptables", default.masquerade_all),
        localhost_node_ports=get.boolean(fields, "localhostNodePorts", "iptables", default.localhost_node_ports),
        sync_period=get.seconds(fields, "syncPeriod", "iptables", default.sync_period),
        min_sync_period=get.seconds(fields, "minSyncPeriod", "iptables", default.min_sync_period),
    )


def _nftables(get: _Getter, fields: Fields) -> NftablesConfig:
    default = NftablesConfig()
    return NftablesConfig(
        masquerade_bit=get.integer(fields, "masqueradeBit", "nftables", 31, default.masquerade_bit),
        masquerade_all=get.boolean(fields, "masqueradeAll", "nftables", default.masquerade_all),
        sync_period=get.seconds(fields, "syncPeriod", "nftables", default.sync_period),
        min_sync_period=get.seconds(fields, "minSyncPeriod", "nftables", default.min_sync_period),
    )


def _ipvs(get: _Getter, fields: Fields) -> IpvsConfig:
    default = IpvsConfig()
    nodes = get.reader.items(fields.get("excludeCIDRs"), "ipvs.excludeCIDRs")
    return IpvsConfig(
        scheduler=get.text(fields, "scheduler", "ipvs", default.scheduler),
        strict_arp=get.boolean(fields, "strictARP", "ipvs", default.strict_arp),
        exclude_cidrs=tuple(_cidr(get.reader, node, f"ipvs.excludeCIDRs[{i}]") for i, node in enumerate(nodes)),
        tcp_timeout=get.seconds(fields, "tcpTimeout", "ipvs", default.tcp_timeout),
        tcp_fin_timeout=get.seconds(fields, "tcpFinTimeout", "ipvs", default.tcp_fin_timeout),
        udp_timeout=get.seconds(fields, "udpTimeout", "ipvs", default.udp_timeout),
        sync_period=get.seconds(fields, "syncPeriod", "ipvs", default.sync_period),
        min_sync_period=get.seconds(fields, "minSyncPeriod", "ipvs", default.min_sync_period),
    )


def _conntrack(get: _Getter, fields: Fields) -> ConntrackConfig:
    default = ConntrackConfig()

    def timeout(name: str, otherwise: float) -> float:
        return get.value(fields, name, "conntrack", _duration, otherwise)

    return ConntrackConfig(
        max_per_core=get.integer(fields, "maxPerCore", "conntrack", _GIANT, default.max_per_core),
        min=get.integer(fields, "min", "conntrack", _GIANT, default.min),
        tcp_established_timeout=timeout("tcpEstablishedTimeout", default.tcp_established_timeout),
        tcp_close_wait_timeout=timeout("tcpCloseWaitTimeout", default.tcp_close_wait_timeout),
        tcp_be_liberal=get.boolean(fields, "tcpBeLiberal", "conntrack", default.tcp_be_liberal),
        udp_timeout=timeout("udpTimeout", default.udp_timeout),
        udp_stream_timeout=timeout("udpStreamTimeout", default.udp_stream_timeout),
    )


def _node_port_addresses(reader: Reader, fields: Fields) -> tuple[str, ...]:
    path = "nodePortAddresses"
    nodes = reader.items(fields.get(path), path)
    if len(nodes) == 1 and isinstance(nodes[0], ScalarNode) and nodes[0].value == PRIMARY:
        return (PRIMARY,)
    return tuple(_cidr(reader, node, f"{path}[{i}]") for i, node in enumerate(nodes))


def _gates(reader: Reader, fields: Fields) -> tuple[tuple[str, bool], ...]:
    if "featureGates" not in fields:
        return ()
    gates = reader.fields(fields["featureGates"], "featureGates")
    return tuple((name, reader.boolean(node, f"featureGates.{name}")) for name, node in gates.items())


def _check(reader: Reader, root: Node, fields: Fields, config: ProxyConfig) -> None:
    """Refuse what kube-proxy's own validation refuses about several fields together."""
    mode, local = config.detect_local_mode, config.detect_local
    for wanted, name, given in (
        ("BridgeInterface", "bridgeInterface", local.bridge_interface),
        ("InterfaceNamePrefix", "interfaceNamePrefix", local.interface_name_prefix),
    ):
        if mode == wanted and not given:
            node = fields.get("detectLocal", root)
            reader.refuse(node, f"detectLocal.{name}", f"detectLocalMode {wanted} needs it, and it is not given")
    for section, periods in (("iptables", config.iptables), ("nftables", config.nftables), ("ipvs", config.ipvs)):
        if periods.min_sync_period > periods.sync_period:
            node = fields.get(section, root)
            happened = f"{periods.min_sync_period:g} s is more than syncPeriod, {periods.sync_period:g} s"
            reader.refuse(node, f"{section}.minSyncPeriod", happened)


def _duration(reader: Reader, node: Node, path: str) -> float:
    found = parse_duration(reader.text(node, path))
    if found is None or found < 0:
        reader.expected(node, path, 'a duration, such as "30s" or "100ms"')
    return found


def _cluster_cidr(reader: Reader, node: Node, path: str) -> tuple[str, ...]:
    found = split_cluster_cidr(reader.text(node, path))
    if found is None:
        reader.expected(node, path, 'a CIDR, or one of each family: "10.244.0.0/16,fd00:10:244::/56"')
    return found


def _cidr(reader: Reader, node: Node, path: str) -> str:
    found = canonical_cidr(reader.text(node, path))
    if found is None:
        reader.expected(node, path, 'a CIDR, such as "192.168.50.0/24"')
    return found


def _address(reader: Reader, node: Node, path: str) -> str:
    found = canonical_address(reader.text(node, path))
    if found is None:
        reader.expected(node, path, "an IPv4 or IPv6 address")
    return found


def _interface(reader: Reader, node: Node, path: str) -> str:
    return reader.matching(node, path, _INTERFACE, "an interface's name, of 15 characters at most")


def _hostname(reader: Reader, node: Node, path: str) -> str:
    return reader.matching(node, path, _HOSTNAME, "a node's name").strip().lower()
