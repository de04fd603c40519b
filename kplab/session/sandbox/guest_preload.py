"""The host's files that a guest has in memory from its beginning: what the agent and a lab's start read.

They lie over the host's tree, at the same paths and with the same contents; everything else is read from that tree
itself. Read one by one over virtio-9p they would cost an emulated guest seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kplab.errors import SandboxError
from kplab.session.sandbox.guest_cache import keep

COLLECT = ("-P", "-m", "kplab.session.sandbox.guest_files")
_LIMIT = 60.0
_MOST_LINKS = 40
"""Symbolic links in one path, as the kernel allows (MAXSYMLINKS, include/linux/namei.h)."""


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file, and what tells that it is still the same."""

    path: str
    changed: int
    """When it was last changed: seconds, by which Python too judges its bytecode. Layers of images keep no more."""
    size: int


@dataclass(frozen=True, slots=True)
class Node:
    """A file, folder or link as the guest shall have it."""

    name: str
    mode: int
    changed: float
    data: bytes


def host_files(cache: Path) -> tuple[HostFile, ...]:
    """Return the files, from the list in the cache as long as none of them has changed.

    Raises:
        SandboxError: kplab's own modules cannot be imported, or there is no room in the cache.
    """
    key = hashlib.sha256(f"{sys.executable} {sys.prefix} {Path(__file__)}".encode()).hexdigest()[:12]
    path = cache / f"files-{key}.json"
    try:
        kept = tuple(HostFile(*each) for each in json.loads(path.read_text()))
        if kept and all(_look(each.path) == each for each in kept):
            return kept
    except (OSError, ValueError, TypeError):
        pass  # none yet, or written by another version
    found = tuple(filter(None, map(_look, _collect())))
    keep(path, [json.dumps([(each.path, each.changed, each.size) for each in found]).encode()])
    return found


def nodes(files: Sequence[HostFile]) -> Iterator[Node]:
    """Return the files with all folders and links on the way to them, each after what it lies in."""
    seen: set[str] = set()
    for file in files:
        yield from _way(file.path, seen)


def _collect() -> list[str]:
    try:
        done = subprocess.run(
            [sys.executable, *COLLECT], capture_output=True, text=True, timeout=_LIMIT, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError("see which files a guest needs", str(error), "kplab doctor") from error
    if done.returncode != 0:
        raise SandboxError("see which files a guest needs", done.stderr.strip(), "install kplab anew; kplab doctor")
    return done.stdout.splitlines()


def _look(path: str) -> HostFile | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - hundreds of them, at each start
    except OSError:
        return None
    return HostFile(path, int(found.st_mtime), found.st_size)


def _way(path: str, seen: set[str]) -> Iterator[Node]:
    """Walk a path as the kernel does: a link is kept as a link, and followed."""
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    here = ""
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            here = here.rpartition("/")[0]
            continue
        there = f"{here}/{part}"
        found = os.lstat(there)
        if stat.S_ISLNK(found.st_mode):
            target = os.readlink(there)  # noqa: PTH115
            links += 1
            if links > _MOST_LINKS:
                return
            if there not in seen:
                yield Node(there, found.st_mode, found.st_mtime, target.encode())
            here = "" if target.startswith("/") else here
            todo += [each for each in reversed(target.split("/")) if each not in ("", ".")]
        else:
            if there not in seen:
                data = Path(there).read_bytes() if stat.S_ISREG(found.st_mode) else b""
                yield Node(there, found.st_mode, found.st_mtime, data)
            here = there
        seen.add(there)
