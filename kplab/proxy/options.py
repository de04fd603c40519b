"""The command line of kplab-proxy: kube-proxy's own flags, and a few of the lab's.

As with kube-proxy, flags that stand in the configuration file too are ignored once `--config` is given, but for
`--hostname-override`, which wins. Flags become a KubeProxyConfiguration of their own and go through the same
parser, so both ways know the same values and refuse the same mistakes.
"""

from __future__ import annotations

import argparse
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kplab.errors import ConfigError
from kplab.model.config import load_config, parse_config
from kplab.model.proxy_config import ProxyConfig
from kplab.proxy.tools import Backend

WRITTEN = ("iptables", "ipvs", "nftables", "userspace", "ebpf")
"""The modes that kplab-proxy writes."""

FLAGS_SOURCE = "command line"
"""What stands in place of a file's name in messages about flags."""


@dataclass(frozen=True, slots=True)
class Options:
    """What kplab-proxy was asked to do."""

    config: ProxyConfig
    node: str
    manifest: Path | None
    """None only with `cleanup`."""
    backend: Backend | None
    """None: choose as kube-proxy's image does."""
    once: bool = False
    like_upstream: bool = False
    cleanup: bool = False
    report_fd: int | None = None
    verbosity: int = 0

    @property
    def sync_period(self) -> float:
        """Seconds, of the mode's own section: after a failure, and twice as long until health is lost."""
        config = self.config
        sections = {"nftables": config.nftables.sync_period, "ipvs": config.ipvs.sync_period}
        return sections.get(config.mode, config.iptables.sync_period)


def parse_options(argv: Sequence[str]) -> Options:
    """Read the command line, and the configuration file that it names.

    Raises:
        ConfigError: the file or a flag cannot be used.
        SystemExit: argparse has printed its message (status 2) or the help (0).

    """
    given = _parser().parse_args(argv)
    config = _read_config(given)
    if config.mode not in WRITTEN:
        hint = f"modes that it can: {', '.join(WRITTEN)}"
        raise ConfigError(f"mode {config.mode} is not one that kplab-proxy can write", hint=hint)
    if given.manifest is None and not given.cleanup:
        raise ConfigError("no --manifest", hint="give --manifest FILE: Kubernetes YAML in place of an API server")
    if given.like_upstream and config.mode != "iptables":
        raise ConfigError(
            f"--like-upstream in mode {config.mode}", hint="it is about the commands of mode iptables only"
        )
    node = (given.hostname_override or config.hostname_override or socket.gethostname()).strip().lower()
    return Options(
        config=replace(config, hostname_override=node),
        node=node,
        manifest=given.manifest,
        backend=given.backend,
        once=given.once,
        like_upstream=given.like_upstream,
        cleanup=given.cleanup,
        report_fd=given.report_fd,
        verbosity=given.v,
    )


def _read_config(given: argparse.Namespace) -> ProxyConfig:
    if given.config is None:
        return parse_config(json.dumps(_document(given)), FLAGS_SOURCE)
    return load_config(given.config)


_PLACES = {
    "proxy_mode": ("mode",),
    "cluster_cidr": ("clusterCIDR",),
    "bind_address": ("bindAddress",),
    "healthz_bind_address": ("healthzBindAddress",),
    "metrics_bind_address": ("metricsBindAddress",),
    "detect_local_mode": ("detectLocalMode",),
    "pod_bridge_interface": ("detectLocal", "bridgeInterface"),
    "pod_interface_name_prefix": ("detectLocal", "interfaceNamePrefix"),
    "iptables_masquerade_bit": ("iptables", "masqueradeBit"),
    "masquerade_all": ("iptables", "masqueradeAll"),
    "iptables_localhost_nodeports": ("iptables", "localhostNodePorts"),
    "iptables_sync_period": ("iptables", "syncPeriod"),
    "iptables_min_sync_period": ("iptables", "minSyncPeriod"),
    "ipvs_scheduler": ("ipvs", "scheduler"),
    "ipvs_strict_arp": ("ipvs", "strictARP"),
    "ipvs_sync_period": ("ipvs", "syncPeriod"),
    "ipvs_min_sync_period": ("ipvs", "minSyncPeriod"),
    "ipvs_tcp_timeout": ("ipvs", "tcpTimeout"),
    "ipvs_tcpfin_timeout": ("ipvs", "tcpFinTimeout"),
    "ipvs_udp_timeout": ("ipvs", "udpTimeout"),
    "conntrack_max_per_core": ("conntrack", "maxPerCore"),
    "conntrack_min": ("conntrack", "min"),
    "conntrack_tcp_timeout_established": ("conntrack", "tcpEstablishedTimeout"),
    "conntrack_tcp_timeout_close_wait": ("conntrack", "tcpCloseWaitTimeout"),
    "conntrack_tcp_be_liberal": ("conntrack", "tcpBeLiberal"),
    "conntrack_udp_timeout": ("conntrack", "udpTimeout"),
    "conntrack_udp_timeout_stream": ("conntrack", "udpStreamTimeout"),
}
"""Where a flag stands in a KubeProxyConfiguration."""


def _document(given: argparse.Namespace) -> dict[str, Any]:
    """Return the KubeProxyConfiguration that says what the flags say."""
    document: dict[str, Any] = {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"}
    for flag, (*sections, key) in _PLACES.items():
        value = getattr(given, flag)
        if value is None:
            continue
        place = document
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    if given.masquerade_all is not None:
        # The one flag of these sections that is every mode's.
        document.setdefault("nftables", {})["masqueradeAll"] = given.masquerade_all
    if given.nodeport_addresses:
        document["nodePortAddresses"] = [cidr for part in given.nodeport_addresses for cidr in part.split(",") if cidr]
    if given.ipvs_exclude_cidrs:
        cidrs = [cidr for part in given.ipvs_exclude_cidrs for cidr in part.split(",") if cidr]
        document.setdefault("ipvs", {})["excludeCIDRs"] = cidrs
    if given.feature_gates:
        document["featureGates"] = dict(_gate(pair) for pair in given.feature_gates.split(",") if pair)
    return document


def _gate(pair: str) -> tuple[str, bool]:
    name, equals, value = pair.partition("=")
    if not equals or value.lower() not in ("true", "false"):
        raise ConfigError(f"--feature-gates {pair}", "this is not Name=true or Name=false")
    return name, value.lower() == "true"


def _switch(text: str) -> bool:
    if text.lower() in ("true", "t", "1"):
        return True
    if text.lower() in ("false", "f", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is not true or false")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kplab-proxy",
        description="The kube-proxy of a lab: watches a manifest in place of an API server, and writes a mode's rules.",
        epilog="As with kube-proxy, --config makes the flags under 'kube-proxy' ignored, except --hostname-override.",
        allow_abbrev=False,
    )
    _kube_proxy_flags(parser.add_argument_group("kube-proxy"))
    lab = parser.add_argument_group("the lab")
    lab.add_argument("--manifest", type=Path, metavar="FILE", help="Services, EndpointSlices and Nodes, as YAML")
    lab.add_argument("--once", action="store_true", help="sync once, then exit; rules stay")
    lab.add_argument("--like-upstream", action="store_true", help="run kube-proxy's very commands, at their cost")
    lab.add_argument("--backend", choices=("nft", "legacy"), help="iptables-nft or iptables-legacy")
    lab.add_argument("--report-fd", type=int, metavar="N", help="write one line of JSON about each sync to this fd")
    lab.add_argument("-v", "--verbose", dest="v", action="count", default=0, help="say what is done")
    return parser


def _kube_proxy_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--config", type=Path, metavar="FILE", help="a KubeProxyConfiguration v1alpha1")
    group.add_argument("--hostname-override", metavar="NODE", help="the name of this node's Node object")
    group.add_argument("--cleanup", action="store_true", help="remove what every mode leaves, then exit")
    group.add_argument("--nodeport-addresses", action="append", metavar="CIDR,…")
    group.add_argument("--ipvs-exclude-cidrs", action="append", metavar="CIDR,…")
    group.add_argument("--feature-gates", metavar="NAME=BOOL,…")
    switches = {"masquerade_all", "ipvs_strict_arp", "iptables_localhost_nodeports", "conntrack_tcp_be_liberal"}
    numbers = {"iptables_masquerade_bit", "conntrack_max_per_core", "conntrack_min"}
    for name in _PLACES:
        flag = f"--{name.replace('_', '-')}"
        if name in switches:
            group.add_argument(flag, type=_switch, nargs="?", const=True, metavar="BOOL")
        else:
            group.add_argument(flag, type=int if name in numbers else str, metavar="N" if name in numbers else "VALUE")
