"""The container engine: Docker or Podman, found and probed with a time limit.

Runs on the user's side, on Linux, macOS and Windows: nothing here needs Linux.

Environment variables, each read as a shell reads words (`shlex`): quotes and backslashes mean what they do there.

* `KPLAB_ENGINE`: the engine's command with options of its own, such as `podman --runtime runc`; else Podman is tried,
  then Docker.
* `KPLAB_ENGINE_RUN`: more options for the engine's `run`, such as `--ulimit nofile=1024:1024`.
* `KPLAB_ENGINE_BUILD`: more options for its `build`, such as `--network=host`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kplab.errors import EngineError, UsageError

ENGINE, RUN, BUILD = "KPLAB_ENGINE", "KPLAB_ENGINE_RUN", "KPLAB_ENGINE_BUILD"
CANDIDATES = ("podman", "docker")
"""Podman first: it needs no right to a daemon's socket."""
LIMIT = 20.0
"""Seconds within which an engine must answer a small question."""
INSTALL = "install Podman (https://podman.io) or Docker (https://docs.docker.com/get-docker/)"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers."""

    kind: Literal["docker", "podman"]
    command: tuple[str, ...]
    run_options: tuple[str, ...] = ()
    build_options: tuple[str, ...] = ()
    version: str = ""
    """As it says itself."""

    @property
    def name(self) -> str:
        """The command, for messages."""
        return _shown(self.command)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine's command came to."""

    status: int
    output: str
    error: str


def words(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    """Return a variable's words, read as a POSIX shell reads them.

    Raises:
        UsageError: a quote is not closed.
    """
    try:
        return tuple(shlex.split(environment.get(variable, "")))
    except ValueError as error:
        raise UsageError(
            f"{variable} cannot be read", f"{error}: {environment[variable]}", "Quote it as for a shell"
        ) from error


def find_engine(environment: Mapping[str, str] = os.environ, limit: float = LIMIT) -> Engine:
    """Return the engine that was named, else the first one that is there and answers.

    Raises:
        EngineError: there is none, or none answers; says what each said.
        UsageError: a variable's quotes do not match.
    """
    named = words(environment, ENGINE)
    candidates = [named] if named else [(name,) for name in CANDIDATES]
    refusals: list[EngineError] = []
    for command in candidates:
        program = shutil.which(command[0], path=environment.get("PATH"))
        if program is None:
            continue
        try:
            return _probed((program, *command[1:]), environment, limit)
        except EngineError as error:
            refusals.append(error)
    if refusals:
        said = "; ".join(f"{error.tried}: {error.happened}" for error in refusals)
        raise EngineError("use a container engine", said, refusals[0].hint)
    looked_for = named[0] if named else " and ".join(CANDIDATES)
    raise EngineError("use a container engine", f"not found: {looked_for}", INSTALL)


def ask(command: Sequence[str], limit: float = LIMIT) -> Answer:
    """Run a short command of an engine's and return what it came to.

    Raises:
        EngineError: it cannot be run, or has not answered in time.
    """
    tried = f"run {_shown(command)}"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=limit, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise EngineError(
            tried, f"no answer within {limit:g} s: the engine hangs", "restart the engine, and try again"
        ) from None
    except OSError as error:
        raise EngineError(tried, error.strerror or str(error), INSTALL) from error
    return Answer(done.returncode, done.stdout.strip(), done.stderr.strip())


def _probed(command: tuple[str, ...], environment: Mapping[str, str], limit: float) -> Engine:
    """Ask an engine what it is, and whether it can work."""
    told = ask((*command, "--version"), limit)
    if told.status != 0:
        raise EngineError(f"run {_shown(command)} --version", told.error or f"status {told.status}", INSTALL)
    kind: Literal["docker", "podman"] = "podman" if "podman" in told.output.lower() else "docker"
    state = ask((*command, "info"), limit)
    if state.status != 0:
        said = state.error or state.output or f"exit status {state.status}"
        raise EngineError(f"use {_shown(command)}", said, _hint(kind, said))
    return Engine(kind, command, words(environment, RUN), words(environment, BUILD), told.output)


def _shown(command: Sequence[str]) -> str:
    """Return a command as a user would type it: without the folder that it was found in."""
    return shlex.join((Path(command[0]).name, *command[1:]))


def _hint(kind: str, said: str) -> str:
    """What to do about an engine that refuses."""
    text = said.lower()
    if "permission denied" in text:
        if kind == "docker":
            return "you have no right to its socket: sudo usermod -aG docker $USER, and log in anew; or use Podman"
        return "run it as the user who may, or see podman-troubleshooting(1)"
    if kind == "docker":
        return "start it: Docker Desktop, or sudo systemctl start docker"
    return "start it (macOS, Windows: podman machine start); `podman info` says more"
