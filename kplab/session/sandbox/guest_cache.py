"""What a guest is made of, kept in the cache: each file under a name made from what it is made of.

So an old one is never taken for a new one; and of each kind only the newest few stay.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from kplab.errors import SandboxError

STAY = 3
"""Files of one kind: that of this installation, and of one or two others that are used beside it."""
PARTIAL = ".partial-"


def keep(path: Path, pieces: Iterable[bytes]) -> Path:
    """Write a file under another name first: one of the right name is always whole. Older ones of its kind go.

    Raises:
        SandboxError: there is no room, or the folder cannot be written.
    """
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        finish(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise no_room(path, error) from error
    return path


def partial_path(path: Path) -> Path:
    """Return where a file is written until it is whole."""
    return path.with_name(f"{path.name}{PARTIAL}{os.getpid()}")


def finish(partial: Path, path: Path) -> None:
    """Give a whole file its name, and delete the oldest of its kind, and what killed processes have left."""
    partial.rename(path)
    kind = path.name.partition("-")[0]
    whole: list[Path] = []
    broken: list[Path] = []
    for each in path.parent.glob(f"{kind}-*"):
        (broken if PARTIAL in each.name else whole).append(each)
    with contextlib.suppress(OSError):
        for old in sorted(whole, key=lambda each: each.stat().st_mtime_ns, reverse=True)[STAY:]:
            old.unlink(missing_ok=True)
    for each in broken:
        if not Path("/proc", each.name.rpartition("-")[2]).exists():
            each.unlink(missing_ok=True)


def no_room(path: Path, error: OSError) -> SandboxError:
    """Return the error for a file that could not be written to the cache."""
    return SandboxError(
        f"write {path}", error.strerror or str(error), "make room there, or name another folder: XDG_CACHE_HOME=…"
    )
