"""Reads a manifest and plans its lab, in a child: the agent never holds a large cluster's objects."""

from __future__ import annotations

import os

import msgspec

from kplab import errors
from kplab.errors import KplabError, LabError
from kplab.lab.plan import cluster_cidrs, plan_lab
from kplab.lab.start import Streams, start
from kplab.model.loader import parse_cluster
from kplab.model.topology import Topology

SOURCE = "manifest"
"""What messages call the manifest: its file is the user's, and its name stays on the user's side."""


class Planned(msgspec.Struct, frozen=True, tag="planned"):
    """What a manifest comes to."""

    topology: Topology
    cluster_cidrs: tuple[str, ...]
    """One range a family that holds every pod range."""


class _Refused(msgspec.Struct, frozen=True, tag="refused"):
    """An error of ours, by its class's name and its three texts."""

    error: str
    tried: str
    happened: str
    hint: str


def plan_manifest(manifest: str, *, with_servers: bool) -> Planned:
    """Return the lab for a manifest.

    Raises:
        ManifestError: it cannot be read, or contradicts itself. LabError: the child ended without an answer.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)

    def work() -> int:
        answer = msgspec.msgpack.encode(_plan(manifest, with_servers))
        with os.fdopen(writer, "wb", closefd=False) as pipe:
            pipe.write(answer)
        return 0

    try:
        pid = start(work, Streams(stderr=2))
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    if not told:
        raise LabError("read the manifest", "the process that reads it ended", "see whether there is memory enough")
    answer = msgspec.msgpack.decode(told, type=Planned | _Refused)
    if isinstance(answer, _Refused):
        raise getattr(errors, answer.error)(answer.tried, answer.happened, answer.hint)
    return answer


def _plan(manifest: str, with_servers: bool) -> Planned | _Refused:
    try:
        cluster = parse_cluster(manifest, SOURCE)
        return Planned(plan_lab(cluster, with_servers=with_servers), cluster_cidrs(cluster))
    except KplabError as error:
        return _Refused(type(error).__name__, error.tried, error.happened, error.hint)
