"""The guest's kernel, unpacked: an emulated processor takes over a second to unpack it, this machine half of one, once.

QEMU starts an ELF image by its PVH entry (CONFIG_PVH; Xen's note 18), without going through the packed image's own
unpacker. Where the image cannot be unpacked or has no such entry, it is used as it is.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import zlib
from pathlib import Path

from kplab.session.sandbox.guest_cache import keep
from kplab.session.sandbox.guest_kernel import GuestKernel

_ELF = b"\x7fELF"
_PVH_NOTES = tuple(
    (4).to_bytes(4, "little") + size.to_bytes(4, "little") + (18).to_bytes(4, "little") + b"Xen\0" for size in (4, 8)
)
"""XEN_ELFNOTE_PHYS32_ENTRY as it stands in an ELF file (include/xen/interface/elfnote.h)."""
_XZ, _GZIP = b"\xfd7zXZ\0", b"\x1f\x8b\x08"


def bootable(kernel: GuestKernel, cache: Path) -> Path:
    """Return the file to give to QEMU: the kernel unpacked, from the cache, or the packed one.

    Raises:
        SandboxError: there is no room in the cache.
    """
    stat = kernel.image.stat()
    named = f"{kernel.image} {stat.st_mtime_ns} {stat.st_size}"
    path = cache / f"vmlinux-{kernel.version}-{hashlib.sha256(named.encode()).hexdigest()[:12]}"
    if path.exists():
        return path
    unpacked = unpack(kernel.image.read_bytes())
    return kernel.image if unpacked is None else keep(path, [unpacked])


def unpack(image: bytes) -> bytes | None:
    """Return the ELF file in a packed image, if it can be started by its PVH entry."""
    for magic, how in ((_XZ, _unxz), (_GZIP, _gunzip)):
        start = image.find(magic)
        while start >= 0:
            unpacked = how(image[start:])
            if unpacked.startswith(_ELF):
                return unpacked if any(note in unpacked for note in _PVH_NOTES) else None
            start = image.find(magic, start + 1)
    return None


def _unxz(data: bytes) -> bytes:
    try:
        return lzma.LZMADecompressor().decompress(data)
    except lzma.LZMAError:
        return b""


def _gunzip(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data)
    except (zlib.error, gzip.BadGzipFile):
        return b""
