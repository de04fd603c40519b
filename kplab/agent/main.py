"""`kplab-agent`: the privileged side. Started by kplab itself, as the first process of a lab's namespaces.

    kplab-agent --fd N [--listen] [--sandbox NAME]

N is a socket that it inherits: the channel, or with --listen a listening socket for a lab that is kept. Everything
in the lab is its descendant, in its process namespace; when it ends, by whatever, the kernel ends them and takes the
namespaces away.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

from kplab.errors import GuardError, KplabError

_USAGE = "usage: kplab-agent --fd N [--listen] [--sandbox NAME]\nkplab starts it by itself; see kplab lab --help\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve one lab; return the exit status (2: the command line, 1: refused)."""
    given = list(sys.argv[1:] if argv is None else argv)
    options = _options(given)
    if options is None:
        sys.stderr.write(_USAGE)
        return 2
    descriptor, listening, sandbox = options
    try:
        _serve(descriptor, listening, sandbox)
    except KplabError as error:
        sys.stderr.write(f"kplab-agent: {error}\n")
        return 1


def _options(given: list[str]) -> tuple[int, bool, str] | None:
    """Read the command line by hand: argparse costs a third of the agent's start."""
    listening, sandbox, descriptor = False, "namespaces", -1
    while given:
        word = given.pop(0)
        if word == "--listen":
            listening = True
        elif word == "--sandbox" and given:
            sandbox = given.pop(0)
        elif word == "--fd" and given and given[0].isdigit():
            descriptor = int(given.pop(0))
        else:
            return None
    return (descriptor, listening, sandbox) if descriptor >= 0 else None


def _serve(descriptor: int, listening: bool, sandbox: str) -> NoReturn:
    """Fork the small helpers, and only then load the libraries that a lab needs. Nothing is touched before Hello."""
    if os.getpid() != 1:
        raise GuardError(
            "the agent does not touch namespaces that are not a lab's own",
            "it is not the first process of a process namespace",
            "kplab starts its agent itself: kplab lab up, kplab trace …, kplab start lesson-3",
        )
    os.set_inheritable(descriptor, False)
    os.chdir("/")
    os.umask(0o022)
    from kplab.lab.craft import Crafter
    from kplab.lab.nursery import Nursery

    nursery, crafter = Nursery(), Crafter()
    from kplab.agent.lab import Helpers
    from kplab.agent.serve import Agent
    from kplab.lab.run import SystemRunner

    channel = socket.socket(fileno=descriptor)
    Agent(Helpers(nursery, crafter, SystemRunner()), sandbox, channel, listening=listening).run()
    # At once: there is nothing to tidy up that the kernel would not, and the user's side waits for our end.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
