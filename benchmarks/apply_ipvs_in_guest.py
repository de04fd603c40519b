"""Measures IPVS mode's syncs in this process's network namespace; `bench_ipvs` runs it in a guest.

The bare programs beside them are `ip -batch`, `ipvsadm -R`, `ipset restore` and `iptables-restore`, with modules loaded
and their input ready. Prints a line of JSON: seconds by name. Run as
`unshare -nm python -m benchmarks.apply_ipvs_in_guest SERVICES PODS`, where PODS are those of each Service.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.apply_in_namespace import fresh, one_endpoint_less
from kplab.lab.run import Finished, SystemRunner
from kplab.model.cluster import Cluster
from kplab.model.proxy_config import ProxyConfig
from kplab.model.synthetic import large_cluster
from kplab.modes.facts import NodeFacts
from kplab.modes.ipvs import compile_ipvs
from kplab.modes.ipvs_program import DEVICE
from kplab.proxy.apply import DirectApplier
from kplab.proxy.ipvs_commands import ServerCommand
from kplab.proxy.ipvs_servers import NetlinkServers
from kplab.proxy.ipvs_tables import IpvsTables
from kplab.proxy.ipvs_writer import IpvsWriter
from kplab.proxy.tools import Tools

WRITERS = {("ipset", "restore"), ("iptables-nft-restore",)}
"""How the programs begin that change the kernel; all others that the writer runs read it."""

CONFIG = ProxyConfig(cluster_cidrs=("10.244.0.0/16",))

Writes = list[tuple[list[str], str]]
"""Programs and their input."""


class Recorder(SystemRunner):
    """Runs programs; keeps what was written by which, and how long each took."""

    def __init__(self) -> None:
        self.writes: Writes = []
        self.taken: dict[str, float] = {}

    def run(
        self, argv: Sequence[str], stdin: str | bytes = "", *, env: Mapping[str, str] | None = None,
        check: bool = True, limit: float = 30.0,
    ) -> Finished:  # fmt: skip
        """Run as `SystemRunner` does."""
        text = stdin if isinstance(stdin, str) else stdin.decode()
        if any(tuple(argv[: len(each)]) == each for each in WRITERS) and text:
            self.writes.append((list(argv), text))
        begun = time.perf_counter()
        try:
            return super().run(argv, stdin, env=env, check=check, limit=limit)
        finally:
            self.took(" ".join(argv[:2]), begun)

    def took(self, name: str, begun: float) -> None:
        """Add the time since then to a name's."""
        self.taken[name] = self.taken.get(name, 0.0) + time.perf_counter() - begun


class RecordedServers(NetlinkServers):
    """Changes virtual servers, and keeps the commands as `ipvsadm -R` would read them."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def change(self, commands: Sequence[ServerCommand]) -> None:
        """Change as `NetlinkServers` does."""
        begun = time.perf_counter()
        super().change(commands)
        self._recorder.took("netlink", begun)
        self._recorder.writes.append((["ipvsadm", "-R"], "".join(f"{command.text}\n" for command in commands)))


def writer_of(runner: Recorder) -> IpvsWriter:
    """Return a writer whose programs and commands are recorded."""
    applier = DirectApplier(Tools(runner, "nft", 4), canaries=False)
    tables = IpvsTables(runner, RecordedServers(runner))
    return IpvsWriter(4, "node-a", CONFIG, tables, applier, NodeFacts())


def synced(writer: IpvsWriter, cluster: Cluster, changed: frozenset[str] | None) -> float:
    """Return the seconds of a sync."""
    begun = time.perf_counter()
    writer.write(cluster, changed, 0.0)
    return time.perf_counter() - begun


def rewritten(writes: Writes) -> float:
    """Return the seconds of the bare programs with the same input."""
    begun = time.perf_counter()
    for argv, text in writes:
        subprocess.run(argv, input=text.encode(), check=True, capture_output=True)
    return time.perf_counter() - begun


def links(cluster: Cluster) -> tuple[list[str], str]:
    """Return the program that makes kube-ipvs0 with its addresses."""
    program = compile_ipvs(cluster, CONFIG, "node-a", 4, NodeFacts())
    return ["ip", "-batch", "-"], f"link add {DEVICE} type dummy\n{program.address_text()}"


def main(services: int, endpoints: int) -> None:
    """Measure the first sync, one endpoint's change, a comparison of everything, and the bare programs beside each."""
    cluster = large_cluster(services, endpoints)
    fewer = one_endpoint_less(cluster)
    gc.disable()  # as kplab-proxy does
    fresh()
    writer_of(Recorder()).write(large_cluster(1, 1), None, 0.0)  # loads modules, which neither is to pay for
    fresh()
    runner = Recorder()
    writer = writer_of(runner)
    first = synced(writer, cluster, None)
    programs, first_writes = dict(runner.taken), [links(cluster), *runner.writes]
    changes: list[float] = []
    writes: list[Writes] = []
    for state in (fewer, cluster) * 3:
        runner.writes = []
        changes.append(synced(writer, state, frozenset({"one"})))
        writes.append(runner.writes)
    bare_changes = [rewritten(each) for each in writes]  # in the same order, so that each finds what it changes
    compared = synced(writer, cluster, None)
    fresh()
    told = {
        "first": first,
        "bare first": rewritten(first_writes),
        "change": median(changes),
        "bare change": median(bare_changes),
        "comparison": compared,
    }
    sys.stdout.write(json.dumps({"seconds": told, "programs": programs}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
