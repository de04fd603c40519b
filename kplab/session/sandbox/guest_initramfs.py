"""The guest's first file system: busybox, the modules that reach the host's tree, scripts, and files of the host's.

Kept in the cache under a name made from its contents, so that an old one is never taken for a new one.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from kplab.errors import SandboxError
from kplab.session.sandbox.guest_cache import keep
from kplab.session.sandbox.guest_kernel import REACH, GuestKernel, module_name, needed_modules
from kplab.session.sandbox.guest_preload import HostFile, nodes

BUSYBOX = "busybox-static"
_INTERPRETER = b"/lib64/ld-linux"
"""Named near the beginning of an x86-64 program that is not static (the segment PT_INTERP, elf(5))."""
_FILE, _FOLDER, _DEVICE = 0o100000, 0o040000, 0o020000
_MOUNTED = ("proc", "sys", "dev", "run", "tmp", "mnt")
_CONSOLE = (5, 1)
"""Major and minor number of /dev/console (Documentation/admin-guide/devices.txt)."""


SCRIPTS = ("init", "second", "enter")
HOST = "host"
"""The folder in which the host's files lie; it becomes the guest's root."""


class Entry(NamedTuple):
    """A name, a mode with the file's kind, what is in it, and when it was changed (seconds)."""

    name: str
    mode: int
    data: bytes = b""
    changed: int = 0


def initramfs(kernel: GuestKernel, cache: Path, search_path: str, files: Sequence[HostFile] = ()) -> Path:
    """Return the file, made if it is not there yet; with `files` of the host's in it.

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
    own = list(_entries(program, needed_modules(kernel, REACH)))
    contents = hashlib.sha256(archive(own))
    for file in files:
        contents.update(f"{file.path} {file.changed} {file.size}\n".encode())
    path = cache / f"initramfs-{kernel.version}-{contents.hexdigest()[:12]}.img"
    # Not packed: QEMU puts it into the guest's memory, where unpacking would be emulated.
    return path if path.exists() else keep(path, [archive(chain(own, _hosts(files)))])


def _entries(busybox: bytes, modules: Sequence[Path]) -> Iterator[Entry]:
    for folder in ("bin", "dev", "proc", "modules", HOST, *(f"{HOST}/{each}" for each in _MOUNTED)):
        yield Entry(folder, _FOLDER | 0o755)
    yield Entry("dev/console", _DEVICE | 0o600)
    yield Entry("bin/busybox", _FILE | 0o755, busybox)
    for name in SCRIPTS:
        yield Entry(name, _FILE | 0o755, (Path(__file__).parent / f"guest_{name}.sh").read_bytes())
    for number, module in enumerate(modules):
        yield Entry(f"modules/{number:02}-{module_name(module.name)}.ko", _FILE | 0o644, _unpacked(module))


def _hosts(files: Sequence[HostFile]) -> Iterator[Entry]:
    for node in nodes(files):
        yield Entry(f"{HOST}{node.name}", node.mode, node.data, int(node.changed))


def archive(entries: Iterable[Entry]) -> bytes:
    """Return a cpio archive of the kind that the kernel reads (Documentation/driver-api/early-userspace)."""
    out = bytearray()
    for inode, (name, mode, data, changed) in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        device = _CONSOLE if mode & 0o170000 == _DEVICE else (0, 0)
        named = name.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, changed & 0xFFFFFFFF, len(data), 0, 0, *device, len(named), 0)
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
