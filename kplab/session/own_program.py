"""Programs of kplab's own that are run inside a lab."""

from __future__ import annotations

from kplab.protocol.messages import PYTHON

_RUN = f'exec "${PYTHON}" -P -m "$@"'


def own_program(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command line of a module of kplab's, for a program in a lab of whichever sandbox.

    The lab says where its Python is, since a container's image has one of its own.
    """
    return ("sh", "-c", _RUN, "kplab", module, *arguments)
