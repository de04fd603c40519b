"""Brings golden scenarios into the guest's kernel in IPVS mode, each in a network namespace of its own; dumps it.

Run in the guest as `unshare -nm python ipvs_worker.py SCENARIO…`. Prints one line of JSON for each step of each.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from kplab.lab.run import Finished, SystemRunner
from kplab.model.config import parse_config
from kplab.proxy.guard import refuse_host_namespace
from kplab.proxy.ipvs_assemble import assemble_ipvs
from kplab.proxy.ipvs_commands import ServerCommand
from kplab.proxy.ipvs_servers import NetlinkServers
from kplab.proxy.loop import Loop
from kplab.proxy.options import Options
from kplab.proxy.tools import Tools

CLONE_NEWNET = 0x40000000
BASE: dict[str, Any] = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "mode": "ipvs",
    "clusterCIDR": "10.244.0.0/16",
    "hostnameOverride": "node-a",
    "bindAddress": "0.0.0.0",
}


class Recorder(SystemRunner):
    """Runs programs, and keeps what was run."""

    def __init__(self) -> None:
        self.writes: list[tuple[list[str], str]] = []

    def run(
        self, argv: Sequence[str], stdin: str | bytes = "", *, env: Mapping[str, str] | None = None,
        check: bool = True, limit: float = 30.0,
    ) -> Finished:  # fmt: skip
        """Run as `SystemRunner` does."""
        self.writes.append((list(argv), stdin if isinstance(stdin, str) else stdin.decode()))
        return super().run(argv, stdin, env=env, check=check, limit=limit)


def record_servers() -> list[str]:
    """Have every command for virtual servers kept, as ipvsadm spells it; return where."""
    kept: list[str] = []
    change = NetlinkServers.change

    def recorded(servers: NetlinkServers, commands: Sequence[ServerCommand]) -> None:
        kept.extend(command.text for command in commands)
        change(servers, commands)

    NetlinkServers.change = recorded  # type: ignore[assignment,method-assign]
    return kept


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def fresh_namespace(links: Sequence[str]) -> None:
    """Leave for a new network namespace, and make its network as golden/README.md describes."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    refuse_host_namespace()
    lines = [
        "link set lo up",
        "link add eth0 type veth peer name eth0-peer",
        "addr add 192.168.50.10/24 dev eth0",
        "addr add fd00:192:168:50::10/64 dev eth0 nodad",
        "link set eth0-peer up",
        "link set eth0 up",
        "route add default via 192.168.50.1",
    ]
    for link in links:
        lines += [f"link add {link} type veth peer name {link}-far", f"link set {link}-far up", f"link set {link} up"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True, capture_output=True)


def told(command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command.split(), capture_output=True, text=True, check=True).stdout


def sysctls(golden: Path) -> str:
    """Return the sysctls that a golden dump names, as this namespace holds them."""
    lines = []
    for line in golden.read_text().splitlines():
        name = line.split(" = ")[0]
        lines.append(f"{name} = {Path('/proc/sys', name.replace('.', '/')).read_text().strip()}\n")
    return "".join(lines)


def addresses(device: str) -> list[str]:
    """Return a device's addresses, as `ip addr` spells them."""
    (link,) = json.loads(told(f"ip -json addr show {device}"))
    assert "UP" not in link["flags"], "kube-proxy leaves the device down"
    return [f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"]]


def local_routes() -> list[str]:
    """Return the local IPv4 addresses that the routing table knows (/proc/net/fib_trie), without running a program."""
    lines = [line.split() for line in Path("/proc/net/fib_trie").read_text().splitlines()]
    return sorted({one[1] for one, two in pairwise(lines) if one[0] == "|--" and two == ["/32", "host", "LOCAL"]})


def steps(folder: Path) -> list[Path]:
    """Return a scenario's manifests in order."""
    further = sorted(folder.glob("step*.yaml"), key=lambda path: int(path.stem.removeprefix("step")))
    return [folder / "manifest.yaml", *further]


def run_scenario(folder: Path, work: Path, servers: list[str]) -> list[dict[str, Any]]:
    """Sync each of a scenario's steps in one fresh namespace; return what the kernel held after each.

    `servers` is where commands for virtual servers are kept.
    """
    file = folder / "config.json"
    changes = json.loads(file.read_text()) if file.exists() else {}
    fresh_namespace(changes.pop("_links", []))
    config = parse_config(json.dumps({**BASE, **changes}), str(file))
    manifest = work / "manifest.yaml"
    options = Options(config, "node-a", manifest, "nft")
    runner, clock, loop = Recorder(), Clock(), None
    results = []
    for step, source in enumerate(steps(folder), start=1):
        manifest.write_text(source.read_text())
        runner.writes.clear()
        servers.clear()
        if loop is None:
            parts = assemble_ipvs(options, [Tools(runner, "nft", family) for family in (4, 6)], clock)
            loop = Loop(parts)
            outcomes = loop.first()
        else:
            clock.now += 1.0
            parts.watch.notice()
            outcomes = loop.turn()
        results.append(
            {
                "scenario": folder.name,
                "step": step,
                "kinds": [f"{outcome.kind}{outcome.family}" for outcome in outcomes],
                "errors": [str(outcome.error) for outcome in outcomes if outcome.error],
                "writes": list(runner.writes),
                "servers": list(servers),
                "iptables-save": told("iptables-nft-save"),
                "ip6tables-save": told("ip6tables-nft-save"),
                "ipvsadm-save": told("ipvsadm -S -n"),
                "ipset": told("ipset save"),
                "addresses": addresses("kube-ipvs0"),
                "local": local_routes(),
                "sysctl": sysctls(folder / "ipvs.sysctl"),
            }
        )
    return results


def main() -> None:
    """Do every scenario that was named."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    servers = record_servers()
    with tempfile.TemporaryDirectory(dir="/run") as work:
        for folder in sys.argv[1:]:
            for result in run_scenario(Path(folder), Path(work), servers):
                sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
