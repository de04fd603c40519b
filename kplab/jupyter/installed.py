"""What a notebook needs besides kplab itself: named, with the command, where it is not there."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from kplab.errors import NotInstalledError

COMMAND = "pip install 'kplab[notebook]'"


def require(what: str, *modules: str, has: Callable[[str], object] = find_spec) -> None:
    """Refuse to begin `what` where one of the modules cannot be imported.

    Raises:
        NotInstalledError: names what is missing, and the command.
    """
    missing = [module for module in modules if not has(module)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise NotInstalledError(what, f"{' and '.join(missing)} {verb} not installed", COMMAND)
