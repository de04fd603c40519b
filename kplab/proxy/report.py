"""Tells whoever started the proxy what was synced: one line of JSON a round, on a descriptor that it gave.

A line: {"sync": n, "kind": "full"|"partial"|"none", "families": [4, 6], "manifest_mtime_ns": …, "seconds": …,
"error": null|"…"}. `n` counts lines from 1. "none" says that the manifest was read, and either nothing in it
changes rules or (with an error) it could not be used; so whoever changed the manifest always hears of it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Literal

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
        if self._fd is None:
            return
        line = {
            "sync": self._count,
            "kind": kind,
            "families": list(families),
            "manifest_mtime_ns": mtime_ns,
            "seconds": round(seconds, 6),
            "error": error,
        }
        try:
            os.write(self._fd, json.dumps(line).encode() + b"\n")
        except OSError as error_of_write:
            # Nobody listens any more; a proxy goes on all the same.
            self._fd = None
            self.problem(f"reports are no longer read: {error_of_write}")
