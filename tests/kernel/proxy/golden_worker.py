"""Brings golden scenarios into this machine's kernel, each in a network namespace of its own, and dumps what it holds.

Run by the tests as `unshare -nm python golden_worker.py MODE WAY SCENARIO…`, so that one process does many scenarios:
it leaves each one's namespace for a new one. MODE is "nft" or "legacy" (iptables mode with that back-end), or
"nftables". WAY is "direct", "upstream" (`--like-upstream`), or "pieces": nftables mode as if the kernel took
messages of SMALL bytes. Prints one line of JSON for each step of each.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kplab.lab.run import Finished, SystemRunner
from kplab.proxy.assemble import assemble
from kplab.proxy.guard import refuse_host_namespace
from kplab.proxy.loop import Loop, Parts
from kplab.proxy.nft_assemble import assemble_nft
from kplab.proxy.options import Options, parse_options
from kplab.proxy.pieces import send_capacity
from kplab.proxy.tools import Tools

CLONE_NEWNET = 0x40000000
SMALL = 4000

BASE: dict[str, Any] = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "clusterCIDR": "10.244.0.0/16",
    "detectLocalMode": "ClusterCIDR",
    "hostnameOverride": "node-a",
    "bindAddress": "0.0.0.0",
    "healthzBindAddress": "127.0.0.1:10256",
    "metricsBindAddress": "127.0.0.1:10249",
    "conntrack": {"maxPerCore": 0, "min": 0},
    "oomScoreAdj": 0,
    "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    "ipvs": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
}
"""The configuration of golden/README.md, which a scenario's config.json is merged over."""


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


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge a scenario's configuration over another, section by section."""
    found = dict(base)
    for key, value in over.items():
        found[key] = merged(found[key], value) if isinstance(value, dict) and key in found else value
    return found


def fresh_namespace(links: Sequence[str]) -> None:
    """Leave for a new network namespace, and make its network as golden/README.md describes."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    refuse_host_namespace()
    lines = [
        "link set lo up",
        "link add eth0 type veth peer name eth0-far",
        "addr add 192.168.50.10/24 dev eth0",
        "addr add fd00:192:168:50::10/64 dev eth0 nodad",
        "link set eth0-far up",
        "link set eth0 up",
        "route add default via 192.168.50.1",
    ]
    for link in links:
        lines += [f"link add {link} type veth peer name {link}-far", f"link set {link}-far up", f"link set {link} up"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True, capture_output=True)


def save(program: str) -> str:
    """Return iptables-save of nat, filter and mangle."""
    return "".join(
        subprocess.run([f"{program}-save", "-t", table], capture_output=True, text=True, check=True).stdout
        for table in ("nat", "filter", "mangle")
    )


def sysctls(golden: Path) -> str:
    """Return the sysctls that a golden dump names, as this namespace holds them."""
    lines = []
    for line in golden.read_text().splitlines():
        name = line.split(" = ")[0]
        lines.append(f"{name} = {Path('/proc/sys', name.replace('.', '/')).read_text().strip()}\n")
    return "".join(lines)


def steps(folder: Path) -> list[Path]:
    """Return a scenario's manifests in order."""
    further = sorted(folder.glob("step*.yaml"), key=lambda path: int(path.stem.removeprefix("step")))
    return [folder / "manifest.yaml", *further]


def held(mode: str) -> dict[str, str]:
    """Return what the kernel holds of a mode, as golden/README.md's programs print it."""
    if mode == "nftables":
        listed = {"nft": ["nft", "list", "ruleset"], "nft.json": ["nft", "-j", "list", "ruleset"]}
        return {
            name: subprocess.run(argv, capture_output=True, text=True, check=True).stdout
            for name, argv in listed.items()
        }
    return {family: save(f"{family}-{mode}") for family in ("iptables", "ip6tables")}


def assembled(options: Options, way: str, runner: Recorder, clock: Clock) -> Parts:
    """Put the mode's proxy together."""
    if options.config.mode == "nftables":
        return assemble_nft(options, runner, clock, capacity=(lambda: SMALL) if way == "pieces" else send_capacity)
    return assemble(options, [Tools(runner, options.backend or "nft", family) for family in (4, 6)], clock)


def run_scenario(folder: Path, mode: str, way: str, work: Path) -> list[dict[str, Any]]:
    """Sync each of a scenario's steps in one fresh namespace; return what the kernel held after each."""
    file = folder / "config.json"
    config = json.loads(file.read_text()) if file.exists() else {}
    fresh_namespace(config.pop("_links", []))
    named = {"mode": "nftables"} if mode == "nftables" else {}
    (work / "config.yaml").write_text(json.dumps(merged({**BASE, **named}, config)))
    manifest = work / "manifest.yaml"
    arguments = ["--config", str(work / "config.yaml"), "--manifest", str(manifest)]
    arguments += [] if named else ["--backend", mode]
    options = parse_options([*arguments, *(["--like-upstream"] if way == "upstream" else [])])
    runner, clock, loop = Recorder(), Clock(), None
    results = []
    for step, source in enumerate(steps(folder), start=1):
        manifest.write_text(source.read_text())
        runner.writes.clear()
        if loop is None:
            parts = assembled(options, way, runner, clock)
            loop = Loop(parts)
            outcomes = loop.first()
        else:
            clock.now += 1.0
            parts.watch.notice()
            outcomes = loop.turn()
        errors = [str(outcome.error) for outcome in outcomes if outcome.error]
        dumped = "nftables" if named else f"iptables-{mode}"
        results.append(
            {
                "scenario": folder.name,
                "step": step,
                "kinds": [f"{outcome.kind}{outcome.family}" for outcome in outcomes],
                "errors": errors,
                "writes": list(runner.writes),
                **held(mode),
                "sysctl": sysctls(folder / f"{dumped}.sysctl"),
            }
        )
    return results


def main() -> None:
    """Do every scenario that was named."""
    mode, way, *folders = sys.argv[1:]
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    with tempfile.TemporaryDirectory() as work:
        for folder in folders:
            for result in run_scenario(Path(folder), mode, way, Path(work)):
                sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
