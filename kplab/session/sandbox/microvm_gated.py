"""A guest whose agent waits to be wanted: booted, or gone on with from what an earlier one was saved as."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kplab.errors import KplabError, SandboxError
from kplab.session.sandbox.guest_kernel import cache_folder
from kplab.session.sandbox.microvm import (
    BOOT_LIMIT,
    Machine,
    Parts,
    Stage,
    Wires,
    agent_parts,
    agent_program,
    launch,
    lives_in_tmp,
    qemu_command,
    start_guest,
    wait_booted,
    wait_reached,
)
from kplab.session.sandbox.microvm_saved import save, saved_path
from kplab.session.sandbox.namespaces import StartedAgent

RESUME_LIMIT = 30.0
"""Seconds until a saved guest that has not gone on is given up, and one is booted."""
AGENT_LIMIT = 120.0
"""Seconds for the agent's start in a guest that boots: Python loads slowly where the processor is emulated."""
ENDED = "kplab-failed: the program has ended"
"""What the guest's script says of an agent that ends before it asks for the host's tree."""
_END = 2.0
_SEED = 32
SAVING, RESUMING = "guest saved for the next start", "saved guest"


@dataclass(slots=True)
class _Gated:
    """A guest, our end of its gate, and of QEMU's monitor where it can be saved."""

    agent: StartedAgent
    gate: socket.socket
    monitor: socket.socket | None

    def go(self) -> None:
        """Tell the agent to begin, with the time and with random numbers of its own."""
        with contextlib.suppress(OSError):  # a guest that has gone shows where it is waited for
            self.gate.sendall(b"go %d %s\n" % (time.time_ns(), secrets.token_hex(_SEED).encode()))

    def close(self) -> None:
        """Let go of the ends."""
        self.gate.close()
        if self.monitor:
            self.monitor.close()


def start_agent_guest(
    machine: Machine, listener: socket.socket | None, stage: Stage, *, saving: bool = True
) -> StartedAgent:
    """Start a guest, and return it when its agent is in the host's tree; with `listener` it is detached.

    With `saving` one that boots is saved for the next start, where the cache outlives it.

    Raises:
        SandboxError: busybox, a module or room is missing; or the guest ends, or hangs.
    """
    parts = agent_parts(machine)
    path = saved_path(cache_folder(os.environ), _command(machine, parts)(Wires(1, 1)), machine.kernel.image)
    if path.exists():
        try:
            return _resumed(_start(machine, parts, listener, path), stage)
        except SandboxError:
            # Whatever it was that QEMU did not like: a guest that boots does not need it.
            path.unlink(missing_ok=True)
    try:
        return _booted(_start(machine, parts, listener, None), path if saving else None, stage)
    except SandboxError as error:
        if ENDED not in error.happened:
            raise
        # A file that it asks for in this installation is not among those in memory; in the tree it is there.
        return _ungated(machine, listener, stage)


def end_guest(agent: StartedAgent) -> None:
    """End a guest that nobody has connected to: a kept one has no channel whose end would tell it."""
    if agent.channel is not None:
        with contextlib.suppress(OSError):
            agent.channel.shutdown(socket.SHUT_RDWR)
    else:
        agent.process.kill()
    agent.wait(_END)


def _ungated(machine: Machine, listener: socket.socket | None, stage: Stage) -> StartedAgent:
    program = agent_program(machine.accelerator, gate=False)
    agent = start_guest(machine, program, listener, host_tmp=lives_in_tmp())
    with contextlib.ExitStack() as undo:
        undo.callback(end_guest, agent)
        wait_booted(agent, stage=stage)
        undo.pop_all()
    return agent


def _resumed(guest: _Gated, stage: Stage) -> StartedAgent:
    with contextlib.ExitStack() as undo:
        undo.callback(end_guest, guest.agent)
        undo.callback(guest.close)
        stage(RESUMING, False)
        guest.go()
        wait_reached(guest.agent, "tree", RESUME_LIMIT)
        stage(RESUMING, True)
        undo.pop_all()
    guest.close()
    return guest.agent


def _booted(guest: _Gated, path: Path | None, stage: Stage) -> StartedAgent:
    with contextlib.ExitStack() as undo:
        undo.callback(end_guest, guest.agent)
        undo.callback(guest.close)
        wait_reached(guest.agent, "kernel", BOOT_LIMIT, stage)
        wait_reached(guest.agent, "agent", AGENT_LIMIT, stage)
        if path and guest.monitor:
            stage(SAVING, False)
            # It only makes later starts faster: without room, or with a QEMU that cannot, this one goes on.
            with contextlib.suppress(KplabError):
                save(guest.monitor, path)
            stage(SAVING, True)
        guest.go()
        wait_reached(guest.agent, "tree", BOOT_LIMIT, stage)
        undo.pop_all()
    guest.close()
    return guest.agent


def _start(machine: Machine, parts: Parts, listener: socket.socket | None, saved: Path | None) -> _Gated:
    with contextlib.ExitStack() as stack:
        gate, inside = map(stack.enter_context, socket.socketpair())
        monitor, theirs = (None, None) if saved else map(stack.enter_context, socket.socketpair())
        state = stack.enter_context(saved.open("rb")) if saved else None
        wires = [each.fileno() for each in (inside, theirs, state) if each]
        command = _command(machine, parts)
        agent = launch(
            lambda port: command(
                Wires(port, inside.fileno(), theirs.fileno() if theirs else 0, state.fileno() if state else 0)
            ),
            listener,
            wires,
        )
        stack.pop_all()
    for each in (inside, theirs, state):
        if each:
            each.close()
    return _Gated(agent, gate, monitor)


def _command(machine: Machine, parts: Parts) -> Callable[[Wires], list[str]]:
    program, host_tmp = agent_program(machine.accelerator, gate=True), lives_in_tmp()
    return lambda wires: qemu_command(machine, parts, program, wires, host_tmp=host_tmp)
