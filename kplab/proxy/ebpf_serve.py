"""`kplab-proxy --proxy-mode ebpf`: watches the manifest, and keeps a node's BPF maps in step with it.

It generates no rule and loads no program: the lab has attached those before. When it ends, the maps stay as they are,
and so does the traffic.
"""

from __future__ import annotations

import select
import time
from pathlib import Path

from kplab.errors import KplabError, ManifestError
from kplab.lab.ebpf import BPFFS
from kplab.model.loader import parse_cluster
from kplab.modes.ebpf import EbpfProgram, compile_ebpf
from kplab.proxy.ebpf_maps import NodeMaps
from kplab.proxy.report import Reporter
from kplab.proxy.watch import ManifestWatch


class MapSyncer:
    """One node's maps, and the manifest that they are made from."""

    def __init__(self, node: str, manifest: Path, maps: NodeMaps, reporter: Reporter) -> None:
        self._node = node
        self._file = str(manifest)
        self._watch = ManifestWatch(manifest)
        self._maps = maps
        self._reporter = reporter
        self._program: EbpfProgram | None = None

    def sync(self) -> bool:
        """Read the manifest and write what differs; tell whether it went well. An error is reported, never raised."""
        began = time.monotonic()
        mtime = 0
        try:
            read = self._watch.read()
            mtime = read.mtime_ns
            program = compile_ebpf(parse_cluster(read.text, self._file), self._node, self._program)
            count = self._maps.sync(program)
        except KplabError as error:
            self._reporter.refused(error, mtime)
            return False
        self._program = program
        self._reporter.wrote_maps(time.monotonic() - began, mtime, count)
        return True

    def run(self, stop_fd: int) -> None:
        """Sync at each change, until `stop_fd` is readable."""
        poll = select.poll()
        poll.register(stop_fd, select.POLLIN)
        if self._watch.fileno() >= 0:
            poll.register(self._watch.fileno(), select.POLLIN)
        while True:
            rest = max(0.0, self._watch.next_poll - time.monotonic())
            ready = {fd for fd, _ in poll.poll(rest * 1000 + 1)}
            if stop_fd in ready:
                return
            if self._watch.fileno() in ready:
                self._watch.events()
            if self._watch.changed(time.monotonic()):
                self.sync()


def serve_ebpf(node: str, manifest: Path | None, reporter: Reporter, stop_fd: int, *, once: bool) -> bool:
    """Keep a node's maps in step until `stop_fd` is readable; with `once` sync and return whether it went well.

    Raises:
        ManifestError: no manifest was named. LabError: the node's maps are not there.
    """
    if manifest is None:
        raise ManifestError("no manifest was named", hint="give --manifest FILE")
    syncer = MapSyncer(node, manifest, NodeMaps(BPFFS / node), reporter)
    done = syncer.sync()
    if not once:
        syncer.run(stop_fd)
    return done
