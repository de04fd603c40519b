"""The sandbox `namespaces`: the agent in private user, mount, process and network namespaces of this kernel.

`unshare` (util-linux) makes them. With a user namespace no privileges are needed, and the machine's own namespaces
are out of reach even for root; where the kernel forbids user namespaces, root does without. `--kill-child` has the
agent die with `unshare`; and the agent being pid 1 of its process namespace, everything in the lab dies with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field

from kplab.errors import SandboxError

NAME = "namespaces"
MAKE_NAMESPACES = ("--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
OWN_USER = ("--user", "--map-root-user")
_CHILD_WAS_KILLED = "unshare: sigprocmask"
"""How unshare of util-linux 2.38 ends when its child was killed: it fails to unblock the signal to kill itself with."""
_MOMENT = 1.0
"""Seconds between a closed channel and the end of the process around the agent."""
_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where ip, nft and iptables are; often not on a user's PATH."""


@dataclass(slots=True)
class StartedAgent:
    """An agent that has been started; whether it lives shows on the channel."""

    channel: socket.socket | None
    """Connected to it; None when it listens for whoever connects."""
    process: subprocess.Popen[bytes]
    """`unshare` around it; for a detached agent, the program that detached it."""
    stderr: int
    """A file in memory that holds what they said on standard error."""
    detached: bool
    _ended: bool = field(default=False)

    def refused(self) -> bool:
        """Tell whether `unshare` could not make the namespaces, so that another way may still work.

        An agent that began and then ended, or was killed, is another matter.
        """
        said = self._text()
        return said.startswith("unshare:") and not said.startswith(_CHILD_WAS_KILLED)

    def said(self) -> str:
        """Return what was said on standard error, and the exit status if it ended badly."""
        text = self._text()
        status = self.process.poll()
        if not status:
            return text
        how = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
        return f"{text} ({how})" if text else how

    def last_words(self) -> str:
        """Return the same, when the channel has closed: the end is then a moment away, and is waited for.

        Without waiting, how it ended would not be known, and a zombie would stay until the session is closed.
        """
        if not self._ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_MOMENT)
        return self.said()

    def _text(self) -> str:
        return "" if self._ended else os.pread(self.stderr, 8192, 0).decode(errors="replace").strip()

    def wait(self, seconds: float) -> None:
        """Wait for its end, once the channel has been closed; kill what does not end."""
        if self._ended:
            return
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._ended = True
        os.close(self.stderr)


def start_agent(listener: socket.socket | None = None, *, own_user: bool = True) -> StartedAgent:
    """Start an agent; with `listener` it is detached from us, and serves whoever connects there.

    Raises:
        SandboxError: `unshare` is missing.
    """
    programs = search_path()
    unshare = shutil.which("unshare", path=programs)
    if unshare is None:
        raise SandboxError("start a lab", "the program `unshare` is missing", "apt-get install util-linux")
    ours, theirs = (None, listener) if listener else socket.socketpair()
    assert theirs is not None  # noqa: S101 - one of the two
    agent = (sys.executable, "-P", "-m", "kplab.agent.main", "--fd", str(theirs.fileno()), "--sandbox")
    name = NAME if own_user else f"{NAME}, as root"
    argv = (unshare, *(OWN_USER if own_user else ()), *MAKE_NAMESPACES, *agent, name)
    if listener:
        argv = (shutil.which("setsid", path=programs) or "setsid", "--fork", *argv, "--listen")
    said = os.memfd_create("kplab-agent-stderr")
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            pass_fds=(theirs.fileno(),),
            # Ctrl-C at the terminal is the face's to handle; the lab ends when the channel closes.
            start_new_session=True,
            env={**os.environ, "PATH": programs},
            cwd="/",
        )
    except OSError as error:
        os.close(said)
        if ours:
            ours.close()
            theirs.close()
        raise SandboxError("start a lab", str(error), "kplab doctor") from error
    if ours:
        theirs.close()
    return StartedAgent(ours, process, said, detached=listener is not None)


def search_path() -> str:
    """Return PATH with the system's folders in it."""
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    return os.pathsep.join([*folders, *(folder for folder in _SYSTEM_FOLDERS if folder not in folders)])


def own_namespaces() -> dict[str, int]:
    """Return the inode numbers of this process's namespaces `net` and `mnt`; 0 where they cannot be read."""
    found = {"net": 0, "mnt": 0}
    for kind in found:
        with contextlib.suppress(OSError):
            found[kind] = os.stat(f"/proc/self/ns/{kind}").st_ino  # noqa: PTH116
    return found


def boot_id() -> str:
    """Return the running kernel's boot id, by which two processes know that they share a kernel."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""
