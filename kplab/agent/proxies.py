"""kube-proxy on every node: a process each, in the node's namespace, which says when it has synced."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from kplab.agent.wait import gone, readable
from kplab.errors import ApplyError, LabError
from kplab.lab.netns import STATE
from kplab.lab.start import Streams, lab_environment, start
from kplab.trace.events import Proxied
from kplab.trace.recording import Backend

MANIFEST = STATE / "manifest.yaml"
CONFIG = STATE / "kube-proxy.yaml"
LONGEST_MEMORY = 4096
SYNC_LIMIT = 120.0
"""Seconds after which a sync is given up: large clusters take tens of seconds with kube-proxy's very commands."""

LACKING = "kplab doctor names what this kernel or its tools lack; a guest has a kernel of its own: --sandbox microvm"


@dataclass(slots=True)
class Proxy:
    """One node's kube-proxy."""

    node: str
    pid: int
    reports: int
    """Descriptor on which it reports each sync."""
    log: Path
    alive: bool = True
    synced: int = 0
    """Time (mtime, ns) of the manifest that it reported last."""
    error: str = ""
    """What went wrong with that one."""
    rest: bytes = b""
    proxied: list[tuple[Proxied, int]] = field(default_factory=list)
    """Userspace mode's connections since they were last taken, each with its time (ns)."""


def default_config(cidrs: tuple[str, ...], mode: str) -> str:
    """Return the lab's KubeProxyConfiguration: kubeadm's, but for what a namespace cannot set."""
    return (
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n"
        "kind: KubeProxyConfiguration\n"
        f"mode: {mode}\n"
        f'clusterCIDR: "{",".join(cidrs)}"\n'
        "detectLocalMode: ClusterCIDR\n"
        "conntrack: {maxPerCore: 0, min: 0}\n"
        "oomScoreAdj: 0\n"
        "iptables: {minSyncPeriod: 100ms, syncPeriod: 30s}\n"
        "nftables: {minSyncPeriod: 100ms, syncPeriod: 30s}\n"
        "ipvs: {minSyncPeriod: 100ms, syncPeriod: 30s}\n"
    )


def start_proxy(node: str, backend: Backend, mode: str) -> Proxy:
    """Start a node's kube-proxy on the files MANIFEST and CONFIG."""
    reports, theirs = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reports, False)
    log = STATE / f"kube-proxy-{node}.log"
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    argv = (
        sys.executable, "-P", "-m", "kplab.proxy.main",
        "--proxy-mode", mode, "--hostname-override", node, "--config", str(CONFIG), "--manifest", str(MANIFEST),
        "--backend", backend, "--report-fd", str(theirs),
    )  # fmt: skip
    try:
        streams = Streams(None, output, output)
        pid = start(argv, streams, namespace=node, keep=(theirs,), environment=lab_environment())
    finally:
        os.close(theirs)
        os.close(output)
    return Proxy(node, pid, reports, log)


def write_manifest(text: str) -> int:
    """Replace the manifest atomically; return its modification time in ns, by which reports name it."""
    fresh = MANIFEST.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(MANIFEST)
    return MANIFEST.stat().st_mtime_ns


def wait_synced(proxies: list[Proxy], mtime_ns: int, hangup: int, limit: float = SYNC_LIMIT) -> None:
    """Wait until every proxy has synced the manifest of that time; kplab-proxy reports once for both families.

    Raises:
        ApplyError: a proxy could not use or write it. LabError: a proxy ended, it took too long, or the user's
            side (descriptor `hangup`) has gone.
    """
    deadline = time.monotonic() + limit
    while waiting := [proxy for proxy in proxies if proxy.synced < mtime_ns]:
        rest = deadline - time.monotonic()
        if rest <= 0:
            raise _failed(waiting[0], f"it has not synced within {limit:g} s")
        ready = readable([*(proxy.reports for proxy in waiting), hangup], rest)
        for proxy in waiting:
            if proxy.reports in ready:
                read_reports(proxy)
                if not proxy.alive:
                    raise _failed(proxy, "it ended")
        if hangup in ready and gone(hangup):
            raise LabError("wait for kube-proxy", "whoever asked for it has gone")
    for proxy in proxies:
        if proxy.error:
            raise ApplyError(f"kube-proxy on {proxy.node} did not take the manifest", proxy.error, LACKING)


def read_reports(proxy: Proxy) -> None:
    """Take in what a proxy has reported. Never blocks; sets `alive` False at its end."""
    try:
        while data := os.read(proxy.reports, 65536):
            proxy.rest += data
        proxy.alive = False
    except BlockingIOError:
        pass
    *lines, proxy.rest = proxy.rest.split(b"\n")
    for line in lines:
        report = json.loads(line)
        if "proxied" in report:
            # Nobody may be asking: the latest are enough.
            del proxy.proxied[:-LONGEST_MEMORY]
            proxy.proxied.append((Proxied(pid=proxy.pid, **report["proxied"]), report["stamp"]))
            continue
        proxy.synced = int(report["manifest_mtime_ns"])
        proxy.error = report["error"] or ""


def _failed(proxy: Proxy, happened: str) -> LabError:
    said = proxy.log.read_text(errors="replace").strip()[-2000:] if proxy.log.exists() else ""
    return LabError(f"start kube-proxy on {proxy.node}", f"{happened}; it said: {said or 'nothing'}")
