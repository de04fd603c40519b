"""Tells whoever started the proxy what was synced: one line of JSON a round, on a descriptor that it gave.

A line: {"sync": n, "kind": "full"|"partial"|"none", "families": [4, 6], "manifest_mtime_ns": …, "seconds": …,
"error": null|"…"}. `n` counts lines from 1. "none" says that the manifest was read, and either nothing in it
changes rules or (with an error) it could not be used; so whoever changed the manifest always hears of it.
In userspace mode each connection taken is a line too: {"proxied": {"protocol", "service", "accepted_from",
"accepted_on", "dialled_from", "dialled_to"}, "stamp": ns}.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Literal

from kplab.errors import KplabError
from kplab.proxy.proxier import SyncOutcome


class Reporter:
    """Writes to the descriptor, and problems to standard error."""

    def __init__(self, fd: int | None, verbosity: int) -> None:
        self._fd = fd
        self._verbosity = verbosity
        self._count = 0

    def synced(self, outcomes: Sequence[SyncOutcome], mtime_ns: int, seconds: float) -> None:
        """One or both families have been synced, or have failed to."""
        errors = [f"IPv{o.family}: {o.error}" for o in outcomes if o.error is not None]
        kind: Literal["full", "partial"] = "full" if any(o.kind == "full" for o in outcomes) else "partial"
        families = [o.family for o in outcomes]
        self._line(kind, families, mtime_ns, seconds, "; ".join(errors) or None)
        for error in errors:
            self.problem(error)
        self.said(f"{kind} sync of IPv{' and IPv'.join(map(str, families))} in {seconds:.3f} s")

    def wrote_rules(self, seconds: float, mtime_ns: int, error: KplabError | None) -> None:
        """A proxy of one family only (userspace mode) has written its rules, or has failed to."""
        self._line("full", [4], mtime_ns, seconds, None if error is None else f"IPv4: {error}")
        if error is not None:
            self.problem(str(error))
        self.said(f"full sync of IPv4 in {seconds:.3f} s")

    def proxied(self, connection: dict[str, str], stamp: int) -> None:
        """A connection was taken, and another opened for it (userspace mode)."""
        self._write({"proxied": connection, "stamp": stamp})

    def wrote_maps(self, seconds: float, mtime_ns: int, count: int) -> None:
        """BPF maps (IPv4 only) have been brought in step: so many elements were written or removed."""
        self._line("partial" if count else "none", [4], mtime_ns, seconds, None)
        self.said(f"{count} elements of the maps were written or removed in {seconds:.3f} s")

    def unchanged(self, mtime_ns: int) -> None:
        """The manifest was read, and nothing in it changes rules."""
        self._line("none", [], mtime_ns, 0.0, None)
        self.said("the manifest was read again; no rule depends on what changed")

    def refused(self, error: Exception, mtime_ns: int) -> None:
        """The manifest cannot be used; the last good state stays."""
        self._line("none", [], mtime_ns, 0.0, str(error))
        self.problem(f"{error}\n  the rules stay as they are")

    def problem(self, text: str) -> None:
        """Say what went wrong."""
        sys.stderr.write(f"kplab-proxy: {text}\n")
        sys.stderr.flush()

    def said(self, text: str) -> None:
        """Say what was done, to those who asked for it."""
        if self._verbosity:
            self.problem(text)

    def _line(self, kind: str, families: Sequence[int], mtime_ns: int, seconds: float, error: str | None) -> None:
        self._count += 1
        line: dict[str, object] = {
            "sync": self._count,
            "kind": kind,
            "families": list(families),
            "manifest_mtime_ns": mtime_ns,
            "seconds": round(seconds, 6),
            "error": error,
        }
        self._write(line)

    def _write(self, line: dict[str, object]) -> None:
        if self._fd is None:
            return
        try:
            os.write(self._fd, json.dumps(line).encode() + b"\n")
        except OSError as error_of_write:
            # Nobody listens any more; a proxy goes on all the same.
            self._fd = None
            self.problem(f"reports are no longer read: {error_of_write}")
