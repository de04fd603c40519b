"""Labs that are kept between commands.

A kept lab's agent listens on an abstract unix socket, `@kplab-UID-NAME`: it is no file, it is in the network
namespace that kplab was run in, and it goes with the agent. Both sides look at who the other is (SO_PEERCRED).
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from kplab.errors import KplabError, ProtocolError, SandboxError, UnknownNameError, UsageError
from kplab.protocol.messages import Done, Down, LabStatus, LabUp, Status
from kplab.session.base import LabPlan, Report
from kplab.session.channel import Channel
from kplab.session.live import ANSWER_LIMIT, END_LIMIT, LiveSession, ask, bring_up, greet
from kplab.session.sandbox.check import explain, ways
from kplab.session.sandbox.choose import CONTAINER, MICROVM, choose
from kplab.session.sandbox.namespaces import StartedAgent, start_agent

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_CONNECT_LIMIT = 5.0
_LISTENING = "00010000"
"""__SO_ACCEPTCON in the flags of /proc/net/unix (net/unix/af_unix.c, unix_seq_show)."""


@dataclass(frozen=True, slots=True)
class KeptLab:
    """A lab that is up."""

    name: str


def list_labs(sockets: Path = Path("/proc/net/unix")) -> tuple[KeptLab, ...]:
    """Return this user's labs that are up, by name."""
    prefix = f"@kplab-{os.getuid()}-"
    names = set()
    with suppress(OSError):
        for line in sockets.read_text().splitlines()[1:]:
            fields = line.split()
            if len(fields) >= 8 and fields[3] == _LISTENING and fields[7].startswith(prefix):
                names.add(fields[7].removeprefix(prefix))
    return tuple(KeptLab(name) for name in sorted(names))


def start_kept_lab(name: str, plan: LabPlan, report: Report | None = None) -> LiveSession:
    """Build a lab that outlives its session, and return a session with it.

    Raises:
        UsageError: the name cannot be used, or that lab is up already. SandboxError: it would be in a container.
            Else as `start_lab`.
    """
    choice = choose(plan.sandbox, plan.mode)
    if choice.sandbox == CONTAINER:
        raise SandboxError(
            "keep a lab in a container",
            f"it ends with the command that began it ({choice.why})",
            "kplab start, play and trace begin one of their own; or keep a lab inside one: docs/containers.md",
        )
    if choice.sandbox == MICROVM:
        agent, channel, report = _greeted_guest(_checked(name), report, choice.why)
    else:
        agent, channel = _greeted_agent(_checked(name), plan.mode)
    with ExitStack() as undo:
        undo.callback(_abandon, agent, channel, name)
        up: LabUp = bring_up(channel, plan, report)
        # That it has been taken over: a lab that is asked nothing ends with whoever has built it.
        ask(channel, Status(), LabStatus, ANSWER_LIMIT)
        undo.pop_all()
    return LiveSession(channel, None, up.topology, up.facts)


def connect_lab(name: str) -> LiveSession:
    """Return a session with a lab that is up. Closing it leaves the lab as it is.

    Raises:
        UnknownNameError: there is none of that name. ProtocolError: it does not answer, or is not ours.
    """
    sock = _connect(_checked(name))
    channel = Channel(sock, lambda: "")
    with ExitStack() as undo:
        undo.callback(channel.close)
        greet(channel)
        status = ask(channel, Status(), LabStatus, ANSWER_LIMIT)
        if status.topology is None or status.facts is None:
            raise ProtocolError(f"connect to the lab {name}", "it is still being built", "try again in a second")
        undo.pop_all()
    return LiveSession(channel, None, status.topology, status.facts)


def stop_lab(name: str) -> None:
    """End a lab, and return when it is gone.

    Raises:
        UnknownNameError: there is none of that name.
    """
    sock = _connect(_checked(name))
    channel = Channel(sock, lambda: "")
    with ExitStack() as undo:
        undo.callback(channel.close)
        greet(channel)
        _end(channel, name)


def _end(channel: Channel, name: str) -> None:
    """Ask for the end, and wait until the name is free: `unshare` around the agent holds it a moment longer."""
    # The answer may be cut off by the very end that it announces.
    with suppress(ProtocolError):
        ask(channel, Down(), Done, END_LIMIT)
    channel.wait_gone(END_LIMIT)
    channel.close()
    until = time.monotonic() + END_LIMIT
    while any(lab.name == name for lab in list_labs()) and time.monotonic() < until:
        time.sleep(0.002)


def _greeted_agent(name: str, mode: str) -> tuple[StartedAgent, Channel]:
    """Start a listening agent in the first way that works, and connect to it."""
    failures = []
    for own_user in ways(mode):
        with _listen(name) as listener:
            agent = start_agent(listener, own_user=own_user)
        channel = None
        try:
            channel = Channel(_connect(name), agent.last_words)
            greet(channel)
        except (ProtocolError, UnknownNameError) as error:
            agent.process.wait(END_LIMIT)
            failures.append(agent.last_words() or error.happened)
            refused = agent.refused()
            if channel:
                channel.close()
            agent.wait(END_LIMIT)
            if not refused:
                break
        else:
            agent.wait(END_LIMIT)
            return agent, channel
    raise explain(failures)


def _greeted_guest(name: str, report: Report | None, why: str) -> tuple[StartedAgent, Channel, Report | None]:
    from kplab.session.guests import greeted_guest

    with _listen(name) as listener:
        return greeted_guest(greet, report, why, listener, lambda: _connect(name))


def _abandon(agent: StartedAgent, channel: Channel, name: str) -> None:
    """End a lab that could not be built."""
    with suppress(KplabError):
        _end(channel, name)
    agent.wait(END_LIMIT)


def _address(name: str) -> str:
    return f"\0kplab-{os.getuid()}-{name}"


def _listen(name: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(_address(name))
        listener.listen(8)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise UsageError(
            f"there is a lab {name!r} already", "", f"end it: kplab lab down --name {name}; or give another name"
        ) from error
    return listener


def _connect(name: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(_CONNECT_LIMIT)
        sock.connect(_address(name))
        sock.settimeout(None)
    except OSError as error:
        sock.close()
        names = ", ".join(lab.name for lab in list_labs())
        hint = f"the labs that are up: {names}" if names else "none is up; build one: kplab lab up"
        raise UnknownNameError(f"there is no lab {name!r}", "", hint) from error
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    if uid not in (os.getuid(), 0):
        sock.close()
        raise ProtocolError(
            f"connect to the lab {name}", f"that name is held by the user with id {uid}", "use another name"
        )
    return sock


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise UsageError(f"a lab cannot be called {name!r}", "", "use small letters, digits and -, at most 40")
    return name
