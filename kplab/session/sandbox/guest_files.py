"""Prints which of this machine's files a lab's start reads, so that a guest can have them in memory from the beginning.

    python -P -m kplab.session.sandbox.guest_files

Imports everything that the agent, the lab and kube-proxy are made of, as the agent will, and says what was read: one
path a line. Run as a process of its own, because the user's side never has these modules loaded.
"""

from __future__ import annotations

import os
import pkgutil
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

PACKAGES = ("kplab.agent", "kplab.lab", "kplab.capture", "kplab.proxy", "kplab.modes", "kplab.rules", "kplab.protocol")
LIBRARIES = ("scapy.layers.inet", "scapy.layers.inet6", "encodings.idna", "encodings.utf_8", "encodings.ascii")
PROGRAMS = (
    "ip", "nft", "xtables-nft-multi", "iptables-nft-restore", "iptables-nft-save", "ip6tables-nft-restore",
    "ip6tables-nft-save", "conntrack", "ipset", "ipvsadm", "modprobe", "unshare", "sh", "bash", "env",
)  # fmt: skip
_LIVING = ("/proc/", "/sys/", "/dev/", "/run/")
_LONGEST = 64 << 20
"""Bytes; larger files are left where they are."""


def main() -> None:
    """Print the paths, each once."""
    # scapy reads other files where the user's folders hold what it has worked out before; a lab has no such folders.
    os.environ.update(dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), "/dev/null"))
    opened: list[str] = []
    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
    found = dict.fromkeys([*_python(), *_modules(), *_programs(), *_mapped(), *opened])
    sys.stdout.write("".join(f"{path}\n" for path in found if _wanted(path)))


def _modules() -> Iterator[str]:
    for package in PACKAGES:
        for each in pkgutil.iter_modules(import_module(package).__path__, f"{package}."):
            import_module(each.name)
    for name in LIBRARIES:
        import_module(name)
    for module in list(sys.modules.values()):
        for attribute in ("__file__", "__cached__"):
            path = getattr(module, attribute, None)
            if path:
                yield path


def _python() -> Iterator[str]:
    """The interpreter, and what it looks for before it runs anything."""
    yield sys.executable
    yield str(Path(sys.prefix, "pyvenv.cfg"))
    yield str(Path(sysconfig.get_path("stdlib"), "os.py"))
    for folder in sys.path:
        if Path(folder).is_dir():
            yield from map(str, Path(folder).glob("*.pth"))


def _programs() -> Iterator[str]:
    for name in PROGRAMS:
        path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if path:
            yield path
            yield from _libraries(path)
    yield from ("/etc/ld.so.cache", "/etc/protocols", "/etc/services", "/etc/nsswitch.conf", "/etc/resolv.conf")


def _libraries(program: str) -> Iterable[str]:
    """What the dynamic loader would map for a program."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return (word for line in told.splitlines() for word in line.split() if word.startswith("/"))


def _mapped() -> Iterator[str]:
    """Shared libraries that are loaded by now, with the links beside them by which the loader finds them."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path(line.split(maxsplit=5)[-1])
        if path.is_absolute():
            yield str(path)
            yield from map(str, path.parent.glob(f"{path.name.partition('.so')[0]}.so*") if ".so" in path.name else ())


def _wanted(path: str) -> bool:
    if "\n" in path or not path.startswith("/") or path.startswith(_LIVING) or path.endswith("locale-archive"):
        return False
    try:
        found = Path(path).stat()
        return stat.S_ISREG(found.st_mode) and found.st_size <= _LONGEST
    except OSError:
        return False


if __name__ == "__main__":
    main()
