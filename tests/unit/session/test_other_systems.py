"""The user's side loads and compiles rules without anything that only Linux, or only Unix, has."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

LINUX_ONLY = """
import os, select, socket, sys
for module, names in ((os, "memfd_create pidfd_open unshare setns eventfd sched_getaffinity"), (select, "epoll"),
                      (socket, "AF_NETLINK AF_PACKET SO_PEERCRED AF_VSOCK")):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
"""
MAC = f"{LINUX_ONLY}\nsys.platform = 'darwin'\n"
WINDOWS = f"""{LINUX_ONLY}
import asyncio, shutil, subprocess, tempfile, threading, typer, msgspec, yaml, typer.core, typer.rich_utils
sys.platform = "win32"
for name in ("fcntl", "termios", "tty", "pwd", "grp", "resource", "pty", "curses", "syslog"):
    sys.modules[name] = None
for name in ("fork", "geteuid", "getuid", "uname", "openpty", "set_blocking"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("AF_UNIX", "SCM_RIGHTS", "socketpair", "send_fds", "recv_fds"):
    if hasattr(socket, name):
        delattr(socket, name)
"""
USERS_SIDE = (
    "kplab.session.live", "kplab.session.containers", "kplab.cli.app", "kplab.cli.trace", "kplab.cli.rules",
    "kplab.cli.lessons", "kplab.course.plain", "kplab.trace.journey", "kplab.scene.timeline",
)  # fmt: skip
START = """
from kplab.errors import EngineError
from kplab.session.base import LabPlan
from kplab.session.live import start_lab
os.environ["PATH"] = "/nowhere"
try:
    start_lab(LabPlan(manifest=""))
except EngineError as error:
    print(error.happened)
"""


@pytest.mark.parametrize(
    ("system", "modules"),
    [
        pytest.param(MAC, (*USERS_SIDE, "kplab.cli.doctor", "kplab.tui.run"), id="a Mac"),
        pytest.param(WINDOWS, USERS_SIDE, id="Windows"),
    ],
)
def test_the_users_side_works_and_asks_for_an_engine(system: str, modules: tuple[str, ...]) -> None:
    """It loads (on Windows all but the screen), and a lab goes straight to a container engine; here there is none."""
    code = "\n".join([system, *(f"import {module}" for module in modules), START])

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "not found: podman and docker\n"), done.stderr
