"""The guest's first file system: busybox, the modules that reach the host's tree, and a script.

Kept in the cache under a name made from its contents, so that an old one is never taken for a new one.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from kplab.errors import SandboxError
from kplab.session.sandbox.guest_kernel import REACH, GuestKernel, module_name, needed_modules

BUSYBOX = "busybox-static"
_INTERPRETER = b"/lib64/ld-linux"
"""Named near the beginning of an x86-64 program that is not static (the segment PT_INTERP, elf(5))."""
_FILE, _FOLDER, _DEVICE = 0o100000, 0o040000, 0o020000
_CONSOLE = (5, 1)
"""Major and minor number of /dev/console (Documentation/admin-guide/devices.txt)."""


def initramfs(kernel: GuestKernel, cache: Path, search_path: str) -> Path:
    """Return the file, made if it is not there yet.

    Raises:
        SandboxError: busybox or a module is missing, or there is no room on the disk.
    """
    busybox = shutil.which("busybox", path=search_path)
    if busybox is None:
        raise SandboxError("start a guest", "the program `busybox` is missing", f"apt-get install {BUSYBOX}")
    program = Path(busybox).read_bytes()
    if _INTERPRETER in program[:1024]:
        raise SandboxError(
            "start a guest", f"{busybox} needs shared libraries, which the guest lacks", f"apt-get install {BUSYBOX}"
        )
    contents = archive(_entries(program, needed_modules(kernel, REACH)))
    path = cache / f"initramfs-{kernel.version}-{hashlib.sha256(contents).hexdigest()[:12]}.img"
    if not path.exists():
        _write(path, gzip.compress(contents, 1, mtime=0))
    return path


def _write(path: Path, contents: bytes) -> None:
    """Write under another name first: a file of the right name is always whole."""
    partial = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(contents)
        partial.rename(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise SandboxError(
            f"write {path}", error.strerror or str(error), "make room there, or name another folder: XDG_CACHE_HOME=…"
        ) from error


Entry = tuple[str, int, bytes]
"""A name, a mode with the file's kind, and what is in it."""


def _entries(busybox: bytes, modules: Sequence[Path]) -> Iterator[Entry]:
    for folder in ("bin", "dev", "proc", "lower", "upper", "root", "modules"):
        yield folder, _FOLDER | 0o755, b""
    yield "dev/console", _DEVICE | 0o600, b""
    yield "bin/busybox", _FILE | 0o755, busybox
    for name in ("init", "second"):
        yield name, _FILE | 0o755, (Path(__file__).parent / f"guest_{name}.sh").read_bytes()
    for number, module in enumerate(modules):
        yield f"modules/{number:02}-{module_name(module.name)}.ko", _FILE | 0o644, _unpacked(module)


def archive(entries: Iterator[Entry]) -> bytes:
    """Return a cpio archive of the kind that the kernel reads (Documentation/driver-api/early-userspace)."""
    out = bytearray()
    for inode, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        device = _CONSOLE if mode & 0o170000 == _DEVICE else (0, 0)
        named = name.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(named), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + named
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def _unpacked(module: Path) -> bytes:
    """Return a module as insmod of busybox reads it, whatever the distribution packs it with.

    Raises:
        SandboxError: it cannot be read or unpacked.
    """
    try:
        match module.suffix:
            case ".xz":
                return lzma.decompress(module.read_bytes())
            case ".gz":
                return gzip.decompress(module.read_bytes())
            case ".zst":
                return subprocess.run(["zstd", "-dcq", str(module)], capture_output=True, check=True).stdout
            case _:
                return module.read_bytes()
    except (OSError, lzma.LZMAError, subprocess.CalledProcessError) as error:
        raise SandboxError(f"read the module {module}", str(error), "apt-get install zstd") from error
