"""Which iptables the word `iptables` means in a lab: the one of the lab's back-end, whatever the machine's own is.

A distribution's `iptables` is nft's or the legacy one; the other's tables are invisible to it. Both programs look
at the name that they are called by, so a link of that name is enough.
"""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

from kplab.lab.netns import STATE

FOLDER = STATE / "bin"
"""First in PATH of every program that is started in the lab."""


def link_frontends(backend: str, folder: Path = FOLDER) -> None:
    """Link iptables, ip6tables and their -save and -restore to the back-end's, where the machine has them."""
    folder.mkdir(exist_ok=True)
    for family, action in product(("iptables", "ip6tables"), ("", "-save", "-restore")):
        program = shutil.which(f"{family}-{backend}{action}", path="/usr/sbin:/sbin:/usr/local/sbin:/usr/bin")
        if program is not None:
            (folder / f"{family}{action}").symlink_to(program)
