"""Compiles the BPF programs with clang, once for each source and compiler.

The object goes into the user's cache folder, named after a digest of the source and clang's version: a change of
either is another file.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from kplab.errors import ProgramError, SandboxError
from kplab.lab.run import Runner

MEND = "apt-get install --no-install-recommends clang llvm libbpf-dev libc6-dev-i386 bpftool"
COMPILE_LIMIT = 60.0


def source() -> bytes:
    """Return the C program that kplab ships."""
    return (Path(__file__).parent / "bpf" / "socket_lb.c").read_bytes()


def cache_folder() -> Path:
    """Return where compiled objects are kept: $XDG_CACHE_HOME/kplab, else ~/.cache/kplab."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "kplab"


def compiled_object(runner: Runner, folder: Path, text: bytes) -> Path:
    """Return the object file of a C source, compiled unless it was before.

    Raises:
        SandboxError: clang is not installed, or cannot compile this here; names the command that mends it.
    """
    try:
        version = runner.run(["clang", "--version"]).stdout
    except ProgramError as error:
        raise SandboxError("compile the BPF programs", error.happened or error.tried, MEND) from error
    digest = hashlib.sha256(text + version.encode()).hexdigest()[:16]
    made = folder / f"socket_lb-{digest}.o"
    if made.exists():
        return made
    headers = f"/usr/include/{os.uname().machine}-linux-gnu"
    fresh = folder / f".{digest}-{os.getpid()}.o"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        argv = ["clang", "-O2", "-g", "-Wall", "-target", "bpf", f"-I{headers}", "-x", "c", "-c", "-", "-o", str(fresh)]
        runner.run(argv, text, limit=COMPILE_LIMIT)
        fresh.rename(made)
    except OSError as error:
        raise SandboxError("keep the compiled BPF programs", f"{folder}: {error.strerror}", _room(folder)) from error
    except ProgramError as error:
        fresh.unlink(missing_ok=True)
        full = os.strerror(errno.ENOSPC) in error.happened
        raise SandboxError("compile the BPF programs", error.happened, _room(folder) if full else MEND) from error
    return made


def _room(folder: Path) -> str:
    return f"make room in {folder}, or let XDG_CACHE_HOME name a folder that has some"
