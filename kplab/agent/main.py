"""`kplab-agent`: the privileged side. Started by kplab itself, as the first process of a lab's namespaces.

    kplab-agent --fd N [--listen] [--sandbox NAME]
    kplab-agent --port PATH [--gate PATH] [--sandbox NAME]
    kplab-agent --stdio [--sandbox NAME]

N is a socket that it inherits: the channel, or with --listen a listening socket for a lab that is kept. PATH is a
guest's serial port, which carries every connection; --gate is another one, on which the agent, loaded, is told to
begin. With --stdio, in a container, standard input and output are the channel. Everything in the lab is its
descendant, in its process namespace; when it ends, by whatever, the kernel ends them and takes the namespaces away.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from kplab.errors import GuardError, KplabError

if TYPE_CHECKING:
    from kplab.lab.craft import Crafter

_USAGE = (
    "usage: kplab-agent --fd N [--listen] | --port PATH [--gate PATH] | --stdio [--sandbox NAME]\n"
    "kplab starts it by itself; see kplab lab --help\n"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve one lab; return the exit status (2: the command line, 1: refused)."""
    given = list(sys.argv[1:] if argv is None else argv)
    options = _options(given)
    if options is None:
        sys.stderr.write(_USAGE)
        return 2
    try:
        _serve(options)
    except KplabError as error:
        sys.stderr.write(f"kplab-agent: {error}\n")
        return 1


@dataclass(slots=True)
class _Options:
    """The command line."""

    descriptor: int = -1
    listening: bool = False
    port: str = ""
    gate: str = ""
    stdio: bool = False
    sandbox: str = "namespaces"


def _options(given: list[str]) -> _Options | None:
    """Read the command line by hand: argparse costs a third of the agent's start."""
    options = _Options()
    while given:
        word = given.pop(0)
        if word == "--listen":
            options.listening = True
        elif word == "--stdio":
            options.stdio = True
        elif word == "--sandbox" and given:
            options.sandbox = given.pop(0)
        elif word == "--port" and given:
            options.port = given.pop(0)
        elif word == "--gate" and given:
            options.gate = given.pop(0)
        elif word == "--fd" and given and given[0].isdigit():
            options.descriptor = int(given.pop(0))
        else:
            return None
    return options if [options.descriptor >= 0, bool(options.port), options.stdio].count(True) == 1 else None


def _serve(options: _Options) -> NoReturn:
    """Fork the small helpers, and only then load the libraries that a lab needs. Nothing is touched before Hello."""
    if os.getpid() != 1:
        raise GuardError(
            "the agent does not touch namespaces that are not a lab's own",
            "it is not the first process of a process namespace",
            "kplab starts its agent itself: kplab lab up, kplab trace …, kplab start lesson-3",
        )
    os.chdir("/")
    os.umask(0o022)
    stdio = None
    if options.stdio:
        from kplab.agent.stdio import channel_on_stdio

        stdio = channel_on_stdio()
    channel = stdio.channel if stdio else None if options.gate else _channel(options)
    from kplab.lab.craft import Crafter
    from kplab.lab.nursery import Nursery

    nursery, crafter = Nursery(), Crafter()
    if options.gate:
        crafter.warm()
    from kplab.agent.lab import Helpers
    from kplab.agent.serve import Agent
    from kplab.lab.run import SystemRunner

    if channel is None:
        channel = _channel_behind_gate(options, crafter)
    listening = options.listening or bool(options.port)
    Agent(Helpers(nursery, crafter, SystemRunner()), options.sandbox, channel, listening=listening).run()
    if stdio:
        stdio.hand_on()
    # At once: there is nothing to tidy up that the kernel would not, and the user's side waits for our end.
    os._exit(0)


def _channel_behind_gate(options: _Options, crafter: Crafter) -> socket.socket:
    from kplab.agent.gate import pass_gate

    crafter.craft([("IP", {})])  # so that it is loaded, and looks for nothing while the root changes
    pass_gate(options.gate)
    return _channel(options)


def _channel(options: _Options) -> socket.socket:
    if options.port:
        from kplab.agent.port import listen_on_port

        return listen_on_port(options.port)
    os.set_inheritable(options.descriptor, False)
    return socket.socket(fileno=options.descriptor)


if __name__ == "__main__":
    sys.exit(main())
