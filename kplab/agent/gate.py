"""Where the agent of a guest waits until it is wanted: everything is loaded, and nothing of the host's is open yet.

A guest that waits here can be saved, and started again from what was saved; so whatever must not be the same twice
comes with the word to go on: the time, and numbers for the kernel's random generator.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

from kplab.errors import ProtocolError

REACHED = "kplab-reached: agent"
ENTER = ("/run/guest/busybox", "sh", "/run/guest/enter")
GO, THERE = Path("/mnt/go"), Path("/mnt/there")
"""Where the guest's first script waits for our word to fetch the host's tree, and where it says that it is there."""
_ADD_ENTROPY, _RESEED = 0x40085203, 0x5207
"""RNDADDENTROPY and RNDRESEEDCRNG (linux/random.h), the same on x86 and Arm."""


def pass_gate(port: str) -> None:
    """Say that all is loaded, wait for `go NANOSECONDS RANDOM` on the port, and move into the host's tree.

    Raises:
        ProtocolError: the port ended, or something else came. OSError: the kernel refused.
    """
    with open(port, "rb", buffering=0) as gate:  # noqa: PTH123 - a character device
        sys.stderr.write(f"{REACHED}\n")
        word = gate.readline().split()
    if len(word) != 3 or word[0] != b"go":
        raise ProtocolError("wait for the word to begin", f"what came is {word!r}")
    time.clock_settime_ns(time.CLOCK_REALTIME, int(word[1]))
    _stir(bytes.fromhex(word[2].decode()))
    GO.write_text("go\n")
    with THERE.open() as there:
        there.readline()
    done = subprocess.run(ENTER, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ProtocolError("enter the host's tree", done.stderr.strip())
    os.chdir("/")
    importlib.invalidate_caches()


def _stir(seed: bytes) -> None:
    """Have the kernel's random numbers go on from here in another way than in every other guest."""
    with open("/dev/urandom", "wb", buffering=0) as device:  # noqa: PTH123
        fcntl.ioctl(device, _ADD_ENTROPY, struct.pack("ii", len(seed) * 8, len(seed)) + seed)
        fcntl.ioctl(device, _RESEED)
