"""Programs of kplab's own that are run inside a lab."""

from __future__ import annotations

import sys

_RUN = 'program=$0; [ -x "$program" ] || program=python; exec "$program" "$@"'
"""This Python where the lab sees this machine's files, as in namespaces and in a guest; else, in a container's image,
the one that kplab is installed in there."""


def own_program(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command line of a module of kplab's, for whichever sandbox the lab is in."""
    return ("sh", "-c", _RUN, sys.executable, "-P", "-m", module, *arguments)
