"""The guest's kernel: a distribution's, with its modules. Found, never changed.

Looked for in this order: the folder named by KPLAB_GUEST (a package unpacked, or any root of a system), this machine
(/boot and /lib/modules), kplab's cache (`scripts/setup vm` unpacks a package there).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kplab.errors import SandboxError

VARIABLE = "KPLAB_GUEST"
MEND = "apt-get install linux-image-amd64, or without touching /boot: scripts/setup vm"
REACH = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")
"""Modules that the guest needs before the host's tree, and with it every other module, is there."""
NEEDED = (*REACH, "ip_vs", "dummy")
"""What a guest cannot do without: the way to the host's tree, and what it is for."""
_MODULE_ENDING = re.compile(r"\.ko(\.(xz|gz|zst))?$")


@dataclass(frozen=True, slots=True)
class GuestKernel:
    """A kernel that a guest can run."""

    version: str
    """As `uname -r` says it in the guest."""
    image: Path
    modules: Path
    """The folder that holds `modules.dep` of this version."""


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder that holds what a guest is made of."""
    base = environment.get("XDG_CACHE_HOME") or os.path.join(environment.get("HOME", "/root"), ".cache")  # noqa: PTH118
    return Path(base) / "kplab" / "guest"


def find_kernel(environment: Mapping[str, str], machine: Path = Path("/")) -> GuestKernel:
    """Return the newest kernel of the first place that has one with the modules that a guest needs.

    Raises:
        SandboxError: there is none, or what the newest one lacks.
    """
    named = environment.get(VARIABLE)
    places = [Path(named).absolute()] if named else [machine, cache_folder(environment)]
    lacking = None
    for place in places:
        for kernel in sorted(_kernels(place), key=lambda kernel: _order(kernel.version), reverse=True):
            try:
                needed_modules(kernel, NEEDED)
            except SandboxError as error:
                lacking = lacking or error
            else:
                return kernel
    if lacking is not None:
        raise lacking
    looked = " and ".join(f"{place}/boot" for place in places).replace("//", "/")
    raise SandboxError(
        "find a kernel for the guest",
        f"there is no vmlinuz-* with its modules in {looked}",
        f"{VARIABLE} names the folder where boot/ and lib/modules/ are" if named else f"mend it with: {MEND}",
    )


def needed_modules(kernel: GuestKernel, wanted: Sequence[str]) -> list[Path]:
    """Return the files of the modules wanted and of all that they need, each after what it needs.

    Built-in ones are left out.

    Raises:
        SandboxError: the kernel has not got one.
    """
    needs = _dependencies(kernel)
    by_name = {module_name(path): path for path in needs}
    builtin = {module_name(line) for line in _lines(kernel.modules / "modules.builtin")}
    ordered: list[str] = []

    def take(path: str) -> None:
        for need in reversed(needs.get(path, [])):
            if need not in ordered:
                ordered.append(need)
        if path not in ordered:
            ordered.append(path)

    for name in wanted:
        if name in by_name:
            take(by_name[name])
        elif name not in builtin:
            raise SandboxError(
                "start a guest",
                f"the kernel {kernel.version} has no module {name}",
                f"a cloud or minimal kernel lacks it; take the distribution's general one: {MEND}",
            )
    return [kernel.modules / path for path in ordered]


def module_name(path: str) -> str:
    """Return a module's name as `lsmod` shows it, from its file's name."""
    return _MODULE_ENDING.sub("", path.rpartition("/")[2]).replace("-", "_")


def _kernels(place: Path) -> Iterator[GuestKernel]:
    for image in (place / "boot").glob("vmlinuz-*"):
        version = image.name.removeprefix("vmlinuz-")
        for folder in ("lib/modules", "usr/lib/modules"):
            modules = place / folder / version
            if (modules / "modules.dep").exists() and os.access(image, os.R_OK):
                yield GuestKernel(version, image.resolve(), modules.resolve())
                break


def _order(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _dependencies(kernel: GuestKernel) -> dict[str, list[str]]:
    """Return modules.dep: a module's file, and the files of all that it needs, the nearest first (depmod(8))."""
    found = {}
    for line in _lines(kernel.modules / "modules.dep"):
        path, _, needs = line.partition(":")
        found[path] = needs.split()
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError as error:
        raise SandboxError("read the modules of the guest's kernel", str(error), f"mend it with: {MEND}") from error
