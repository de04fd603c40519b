"""Network namespaces of their own for tests of kplab-proxy, made as the golden dumps' were."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

LINKS = """\
link set lo up
link add eth0 type veth peer name eth0-far
addr add 192.168.50.10/24 dev eth0
addr add fd00:192:168:50::10/64 dev eth0 nodad
link set eth0-far up
link set eth0 up
route add default via 192.168.50.1
"""
"""Input of `ip -batch`: the network that golden/README.md describes."""


def private(*argv: str) -> list[str]:
    """Return a command that runs `argv` in mount and network namespaces of its own, as root or without it."""
    return ["unshare", "-nm" if os.geteuid() == 0 else "-Urnm", *argv]


class NodeNamespace:
    """A node: a network namespace held by a child that does nothing; commands enter it."""

    def __init__(self, holder: subprocess.Popen[str]) -> None:
        self._holder = holder

    def enter(self, *argv: str) -> list[str]:
        """Return a command that runs `argv` in this namespace."""
        user = [] if os.geteuid() == 0 else ["-U", "--preserve-credentials"]
        return ["nsenter", "-t", str(self._holder.pid), "-n", "-m", *user, *argv]

    def run(self, *argv: str, stdin: str = "", check: bool = True) -> str:
        """Run a program in the namespace and return what it printed."""
        ended = subprocess.run(self.enter(*argv), input=stdin, capture_output=True, text=True, check=False, timeout=60)
        assert not check or ended.returncode == 0, f"{argv}: {ended.stderr}"
        return ended.stdout

    def own_proxy(self, *arguments: str) -> list[str]:
        """Return the command of kplab-proxy on node-a, to be run in the namespace."""
        return [str(Path(sys.executable).with_name("kplab-proxy")), "--hostname-override", "node-a", *arguments]

    def proxy(self, *arguments: str) -> list[str]:
        """Return the command that enters this namespace and runs kplab-proxy on node-a."""
        return self.enter(*self.own_proxy(*arguments))

    def save(self, backend: str, *tables: str, family: int = 4, counters: bool = False) -> str:
        """Return iptables-save of tables, or of all, without comments."""
        program = f"ip{'6' if family == 6 else ''}tables-{backend}-save"
        chosen = [argument for table in tables for argument in ("-t", table)]
        text = self.run(program, *(["-c"] if counters else []), *chosen)
        return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


@contextmanager
def _namespace() -> Iterator[NodeNamespace]:
    # The holder ends with its standard input, so even a killed test run leaves no namespace.
    script = 'mount -t tmpfs tmpfs /run && printf "%s" "$1" | ip -batch - && echo ready && exec cat'
    holder = subprocess.Popen(
        private("sh", "-c", script, "sh", LINKS),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stderr is not None
    try:
        if holder.stdout.readline() != "ready\n":
            holder.wait(timeout=10)
            pytest.skip(f"a private network namespace cannot be made: {holder.stderr.read().strip()}")
        yield NodeNamespace(holder)
    finally:
        holder.kill()
        holder.wait()
        for pipe in (holder.stdin, holder.stdout, holder.stderr):
            pipe.close()


@pytest.fixture
def node() -> Iterator[NodeNamespace]:
    """A fresh node."""
    with _namespace() as made:
        yield made


@pytest.fixture
def another_node() -> Iterator[NodeNamespace]:
    """A second fresh node, to compare with."""
    with _namespace() as made:
        yield made


class RunningProxy:
    """A kplab-proxy that watches its manifest, and the reports that it wrote so far."""

    def __init__(self, process: subprocess.Popen[str], reports: int) -> None:
        self.process = process
        self._reports = reports
        self._left = b""

    def report(self, limit: float = 20.0) -> dict[str, Any]:
        """Wait for the next line of its reports."""
        end = time.monotonic() + limit
        while b"\n" not in self._left:
            assert select.select([self._reports], [], [], max(0.0, end - time.monotonic()))[0], "no report in time"
            data = os.read(self._reports, 65536)
            assert data, f"kplab-proxy has ended: {self.process.communicate()}"
            self._left += data
        line, _, self._left = self._left.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told


@pytest.fixture
def start_proxy() -> Iterator[Callable[..., RunningProxy]]:
    """Start proxies in namespaces; those that still run at the end are ended."""
    with ExitStack() as stack:

        def start(node: NodeNamespace, *arguments: str) -> RunningProxy:
            reader, writer = os.pipe()
            stack.callback(os.close, reader)
            command = node.proxy("--report-fd", str(writer), *arguments)
            process = subprocess.Popen(
                command, pass_fds=[writer], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True,
            )  # fmt: skip
            os.close(writer)
            stack.callback(_end, process)
            return RunningProxy(process, reader)

        yield start


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
    process.communicate(timeout=20)


Endpoints = Mapping[str, Sequence[str]]
"""A Service's name -> the addresses of its endpoints."""


def manifest_text(services: Endpoints, *, zone: str = "zone-1", protocol: str = "TCP") -> str:
    """Return a manifest of node-a and ClusterIP Services demo/NAME at 10.96.0.20, .21 and so on, all on port 80."""
    parts = [
        f"apiVersion: v1\nkind: Node\nmetadata: {{name: node-a, labels: {{topology.kubernetes.io/zone: {zone}}}}}\n"
        "status: {addresses: [{type: InternalIP, address: 192.168.50.10}]}\n"
    ]
    for number, (name, addresses) in enumerate(services.items(), start=20):
        parts.append(
            f"apiVersion: v1\nkind: Service\nmetadata: {{namespace: demo, name: {name}}}\n"
            f"spec: {{clusterIP: 10.96.0.{number}, ports: [{{port: 80, protocol: {protocol}}}]}}\n"
        )
        endpoints = ", ".join(f"{{addresses: [{address}]}}" for address in addresses)
        parts.append(
            f"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
            f"metadata: {{namespace: demo, name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}\n"
            f'ports: [{{name: "", port: 8080, protocol: {protocol}}}]\nendpoints: [{endpoints}]\n'
        )
    return "---\n".join(parts)


@pytest.fixture
def write_manifest(tmp_path: Path) -> Callable[..., Path]:
    """Write a manifest, as `manifest_text` takes it, in place of the one before, atomically."""

    def write(services: Endpoints, **arguments: str) -> Path:
        path, new = tmp_path / "manifest.yaml", tmp_path / "manifest.new"
        new.write_text(manifest_text(services, **arguments))
        return new.rename(path)

    return write
