"""The program of a container whose lab is in a guest: starts it, and carries its channel to and from the user's side.

    python -m kplab.session.sandbox.container_guest [--prepare]

Standard input and output are the channel, as the agent's are in any other container. The guest's stages are told as the
`Progress` of the first question, which is always Hello; and why it did not start, as that question's `Failed`. With
`--prepare` only what every start needs is put into the cache.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from kplab.errors import KplabError
from kplab.protocol.frames import encode
from kplab.protocol.messages import Failed, Progress
from kplab.protocol.stdio import carry, write_all
from kplab.session.sandbox.guest_kernel import find_kernel
from kplab.session.sandbox.microvm import Machine, agent_parts, find_machine
from kplab.session.sandbox.microvm_gated import start_agent_guest

HELLO = 1
"""The number of a channel's first question (`kplab.session.channel`)."""
END_LIMIT = 2.0


def main(argv: Sequence[str]) -> int:
    """Run the guest until its channel ends; return the exit status."""
    if list(argv) == ["--prepare"]:
        agent_parts(Machine("", "", find_kernel(os.environ)))
        return 0
    began = time.monotonic()

    def stage(name: str, done: bool) -> None:
        seconds = time.monotonic() - began
        write_all(1, encode(Progress(id=HELLO, step=name, done=done, seconds=seconds)))

    try:
        guest = start_agent_guest(find_machine(), None, stage, saving=False)
        try:
            assert guest.channel is not None  # noqa: S101 - it does not listen
            carry(0, 1, guest.channel)
        finally:
            if guest.channel is not None:
                guest.channel.close()
            guest.wait(END_LIMIT)
    except KplabError as error:
        kind = type(error).__name__
        write_all(1, encode(Failed(id=HELLO, error=kind, tried=error.tried, happened=error.happened, hint=error.hint)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
