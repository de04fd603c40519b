"""An agent in a guest, started and greeted, for a lab that lives with its session or one that is kept."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

from kplab.errors import ProtocolError, SandboxError
from kplab.session.base import Report
from kplab.session.channel import Channel
from kplab.session.sandbox.microvm import console, find_machine
from kplab.session.sandbox.microvm_gated import end_guest, start_agent_guest
from kplab.session.sandbox.namespaces import StartedAgent
from kplab.session.stages import Stages

GREETING_LIMIT = 60.0
"""Seconds for an agent that has been loaded to answer."""

Greet = Callable[[Channel, float], None]


def greeted_guest(
    greet: Greet,
    report: Report | None,
    why: str,
    listener: socket.socket | None = None,
    connect: Callable[[], socket.socket] | None = None,
) -> tuple[StartedAgent, Channel, Report | None]:
    """Start a guest and greet its agent; return both, and who is told the steps that follow.

    With `listener` the guest is kept, and `connect` connects to it.

    Raises:
        SandboxError: QEMU, a kernel, a module or room is missing, or the guest hangs or ends.
    """
    stages = Stages(report, time.monotonic())
    name = f"microvm: {why}"
    stages(name, False)
    machine = find_machine()
    stages(name, True)
    agent = start_agent_guest(machine, listener, stages)
    with contextlib.ExitStack() as undo:
        undo.callback(end_guest, agent)
        stages("agent greeted", False)
        own = agent.channel if connect is None else connect()
        assert own is not None  # noqa: S101 - it listens exactly if there is a way to connect
        channel = Channel(own, lambda: console(agent))
        undo.callback(channel.close)
        try:
            greet(channel, GREETING_LIMIT)
        except ProtocolError as error:
            raise SandboxError(
                "start the agent in the guest",
                f"{error.happened}; the guest's console shows:\n{console(agent) or '(nothing)'}",
                "kplab doctor",
            ) from error
        stages("agent greeted", True)
        undo.pop_all()
    if listener is not None:
        agent.process.returncode = 0  # it outlives us: Popen is not to wait for it, nor to warn
    return agent, channel, stages.shifted()
