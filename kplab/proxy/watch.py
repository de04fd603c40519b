"""Tells when the manifest has changed: edited in place, replaced atomically, or swapped behind a symbolic link.

inotify watches the folders of the file and of what it links to (a watch on the file itself would be lost when
another file takes its name). Only finished writes count: a file is not read while its writer still has it
open, for half a manifest is often a valid one. Where inotify sees nothing (some network and overlay file
systems), a look at the file's time and size each two seconds does.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kplab.model.cluster import Cluster
from kplab.model.loader import Memo, parse_cluster, read_text

POLL_PERIOD = 2.0
"""Seconds between two looks at the file without any event."""

_CLOSE_WRITE, _MOVED_TO, _IGNORED = 0x8, 0x80, 0x8000
_INTERESTING = _CLOSE_WRITE | _MOVED_TO
_EVENT = struct.Struct("iIII")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file's identity and age look like from outside."""

    device: int
    inode: int
    mtime_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class ReadManifest:
    """A manifest's text, and when it was last changed."""

    text: str
    mtime_ns: int


def manifest_parser(file: str) -> Callable[[str], Cluster]:
    """Return what reads a manifest's text, and on the next text reads only the documents that changed."""
    memo: Memo = {}
    return lambda text: parse_cluster(text, file, memo)


class ManifestWatch:
    """Watches one path; `fileno` is for poll, -1 where inotify is not to be had."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inotify = _open_inotify()
        self._folders: set[str] = set()
        self._read: Stamp | None = None
        self._seen: Stamp | None = None
        self._dirty = True
        self._next_poll = 0.0

    def fileno(self) -> int:
        """The descriptor that becomes readable with an event."""
        return self._inotify

    def close(self) -> None:
        """Stop watching."""
        if self._inotify >= 0:
            os.close(self._inotify)
            self._inotify = -1

    def events(self) -> None:
        """Take note of what inotify has to say; call when `fileno` is readable."""
        names = {os.fsencode(path.name) for path in (self._path, self._path.resolve())}
        # A link may be swapped under another name: a mounted ConfigMap swaps the folder that it points into.
        swapped = self._path.is_symlink() and _stamp(self._path) != self._read
        for name, mask in _read_events(self._inotify):
            if mask & _IGNORED:
                self._folders.clear()
            if swapped or name in names or not mask & _INTERESTING:
                self._dirty = True

    def notice(self) -> None:
        """Take the file for changed, whatever it looks like."""
        self._dirty = True

    def changed(self, now: float) -> bool:
        """Tell whether the file should be read again."""
        if now >= self._next_poll:
            self._next_poll = now + POLL_PERIOD
            stamp = _stamp(self._path)
            # Still the same as at the look before: whoever wrote it has stopped.
            if stamp != self._read and stamp == self._seen:
                self._dirty = True
            self._seen = stamp
        return self._dirty

    def read(self) -> ReadManifest:
        """Read the manifest; until it changes again, `changed` is false.

        Raises:
            ManifestError: it is missing, too large, or not text.

        """
        self._dirty = False
        self._watch_folders()
        # The stamp first: should another file take the name in between, the next look finds that it differs.
        self._read = _stamp(self._path)
        return ReadManifest(read_text(self._path), self._read.mtime_ns if self._read else 0)

    @property
    def next_poll(self) -> float:
        """When `changed` will look again by itself."""
        return self._next_poll

    def _watch_folders(self) -> None:
        if self._inotify < 0:
            return
        for path in (self._path.absolute(), self._path.resolve()):
            folder = str(path.parent)
            if folder not in self._folders and _add_watch(self._inotify, folder):
                self._folders.add(folder)


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return Stamp(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def _open_inotify() -> int:
    try:
        return int(_libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    except (AttributeError, OSError):
        return -1


def _add_watch(inotify: int, folder: str) -> bool:
    return int(_libc().inotify_add_watch(inotify, os.fsencode(folder), _INTERESTING)) >= 0


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _read_events(inotify: int) -> list[tuple[bytes, int]]:
    """Return (file name, mask) of every event that waits."""
    found: list[tuple[bytes, int]] = []
    while True:
        try:
            data = os.read(inotify, 65536)
        except BlockingIOError:
            return found
        at = 0
        while at < len(data):
            _, mask, _, length = _EVENT.unpack_from(data, at)
            found.append((data[at + 16 : at + 16 + length].rstrip(b"\0"), mask))
            at += 16 + length
