"""Starts programs that run beside us: proxies, shells, clients. Those that we wait for are `kplab.lab.run`'s.

By fork, because the child has to enter its namespace, and perhaps take a terminal, before the program begins. The
caller is single-threaded, so forking is safe; whoever is pid 1 reaps.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kplab.errors import KplabError
from kplab.lab.frontends import FOLDER
from kplab.lab.netns import NAMES, enter_for_good
from kplab.protocol.messages import PYTHON

NOT_FOUND = 127
"""A shell's exit status for a program that is not there."""


@dataclass(frozen=True, slots=True)
class Streams:
    """Descriptors that become the child's standard streams; None is /dev/null."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


def start(
    what: Sequence[str] | Callable[[], int],
    streams: Streams,
    *,
    namespace: str | None = None,
    keep: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    terminal: bool = False,
) -> int:
    """Start a program, or call a function (which returns the exit status), in a child; return its pid.

    `keep` are descriptors that the program shall have too. With `terminal`, stdin is a terminal and becomes the
    child's own. A program that cannot be started ends with status 127 and says why on its standard error.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _become(streams, namespace, keep, terminal=terminal)
            status = _go(what, environment)
        except (OSError, KplabError) as error:
            os.write(2, f"{error}\n".encode())
        finally:
            # Whatever happened, the child must not go on as a second agent.
            os._exit(status)
    return pid


def lab_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of programs in the lab: ours, without what would tie them to the user's desktop.

    It says which Python has kplab, for programs of ours that the user's side runs here.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SSH_", "DBUS_", "XDG_"))}
    folders = kept.get("PATH", "").split(":")
    system = [folder for folder in ("/usr/sbin", "/sbin") if folder not in folders]
    kept["PATH"] = ":".join([str(FOLDER), *filter(None, folders), *system])
    return {**kept, PYTHON: sys.executable, **(extra or {})}


def _become(streams: Streams, namespace: str | None, keep: Sequence[int], *, terminal: bool) -> None:
    for caught in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(caught, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    if namespace is not None:
        enter_for_good(NAMES / namespace)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    wanted = [nothing if each is None else each for each in (streams.stdin, streams.stdout, streams.stderr)]
    # First out of the way of 0, 1 and 2, which may themselves be among those wanted.
    high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in wanted]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, number)
    for descriptor in keep:
        os.set_inheritable(descriptor, True)
    if terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _go(what: Sequence[str] | Callable[[], int], environment: Mapping[str, str] | None) -> int:
    if callable(what):
        return what()
    try:
        os.execvpe(what[0], list(what), dict(os.environ if environment is None else environment))  # noqa: S606
    except OSError as error:
        os.write(2, f"{what[0]}: {error.strerror}\n".encode())
        return NOT_FOUND
