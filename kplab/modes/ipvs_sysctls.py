"""The sysctls that kube-proxy sets at its start in IPVS mode (NewProxier of pkg/proxy/ipvs/proxier.go)."""

from __future__ import annotations

from kplab.model.proxy_config import ProxyConfig

_REUSE_SINCE, _REUSE_FIXED = (4, 1), (5, 9)


def ipvs_sysctls(config: ProxyConfig, kernel: tuple[int, ...]) -> dict[str, int]:
    """Return what to set, by its path under /proc/sys; `kernel` is (6, 1) for Linux 6.1.

    From 5.9 on a reused connection is no longer held up for a second, and `conn_reuse_mode` is left alone.
    """
    wanted = {"net/ipv4/vs/conntrack": 1}
    if _REUSE_SINCE <= kernel < _REUSE_FIXED:
        wanted["net/ipv4/vs/conn_reuse_mode"] = 0
    wanted["net/ipv4/vs/expire_nodest_conn"] = 1
    wanted["net/ipv4/vs/expire_quiescent_template"] = 1
    wanted["net/ipv4/ip_forward"] = 1
    if config.ipvs.strict_arp:
        wanted["net/ipv4/conf/all/arp_ignore"] = 1
        wanted["net/ipv4/conf/all/arp_announce"] = 2
    return wanted


def ipvs_timeouts(config: ProxyConfig) -> tuple[int, int, int] | None:
    """Return seconds for TCP, TCP after a FIN, and UDP, as `ipvsadm --set` takes them (0: leave); None: leave all."""
    section = config.ipvs
    timeouts = (int(section.tcp_timeout), int(section.tcp_fin_timeout), int(section.udp_timeout))
    return timeouts if any(timeouts) else None
