"""The sysctls that kube-proxy sets, in its own network namespace only.

`nf_conntrack_max` and `nf_conntrack_buckets` are not among them: they are one value for all namespaces, and
read-only in every one but the first. A kube-proxy in a namespace must be told `conntrack.maxPerCore: 0`.
"""

from __future__ import annotations

from pathlib import Path

from kplab.model.proxy_config import ProxyConfig
from kplab.modes.nodeports import NodePortAddresses

_CONNTRACK = "net/netfilter/nf_conntrack_"
BE_LIBERAL = f"{_CONNTRACK}tcp_be_liberal"


def wanted_sysctls(config: ProxyConfig, addresses: NodePortAddresses) -> dict[str, int]:
    """Return what to set, by its path under /proc/sys; `addresses` is IPv4's share of nodePortAddresses.

    `route_localnet` lets 127.0.0.1:NodePort reach a pod, in iptables mode only; a timeout of 0 leaves the kernel's.
    """
    conntrack = config.conntrack
    wanted: dict[str, int] = {}
    if config.mode == "iptables" and config.iptables.localhost_node_ports and addresses.contains_ipv4_loopback:
        wanted["net/ipv4/conf/all/route_localnet"] = 1
    if conntrack.tcp_be_liberal:
        wanted[BE_LIBERAL] = 1
    timeouts = {
        "tcp_timeout_established": conntrack.tcp_established_timeout,
        "tcp_timeout_close_wait": conntrack.tcp_close_wait_timeout,
        "udp_timeout": conntrack.udp_timeout,
        "udp_timeout_stream": conntrack.udp_stream_timeout,
    }
    wanted.update({f"{_CONNTRACK}{name}": int(seconds) for name, seconds in timeouts.items() if seconds > 0})
    return wanted


def set_sysctls(wanted: dict[str, int], root: Path = Path("/proc/sys")) -> list[str]:
    """Write those that differ; return a line about each that could not be written."""
    problems = []
    for path, value in wanted.items():
        file = root / path
        try:
            if int(file.read_text()) != value:
                file.write_text(f"{value}\n")
        except (OSError, ValueError) as error:
            problems.append(f"set {path.replace('/', '.')} to {value}: {error}")
    return problems


def tcp_be_liberal(root: Path = Path("/proc/sys")) -> bool:
    """Tell whether conntrack is liberal about TCP windows; kube-proxy then does not drop INVALID packets."""
    try:
        return int((root / BE_LIBERAL).read_text()) != 0
    except (OSError, ValueError):
        return False
