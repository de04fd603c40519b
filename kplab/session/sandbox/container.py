"""The sandbox `container`: the agent in a container of Docker's or Podman's, where this machine itself does not do.

The container has no network and no capability in effect; in it the agent makes the namespaces that it makes
everywhere. Its standard input and output are the channel: when kplab goes, by whatever, the input ends, with it the
agent, and with the agent the container. Nothing here needs Linux: neither SCM_RIGHTS nor memfds nor pidfds.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import threading
from collections import deque
from dataclasses import dataclass

from kplab.errors import EngineError
from kplab.session.sandbox.container_engine import Engine, ask
from kplab.session.sandbox.container_image import Image
from kplab.session.sandbox.namespaces import MAKE_NAMESPACES, OWN_USER

NAME = "container"
ROOT_CAPABILITIES = ("SYS_ADMIN", "NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE")
"""Namespaces and mounts; rules, links and sysctls; AF_PACKET and raw sockets; the pods' ports below 1024."""
_AGENT = ("kplab-agent", "--stdio", "--sandbox")
_GUEST = ("python", "-P", "-m", "kplab.session.sandbox.container_guest")
_KEPT_LINES = 40
_MOMENT = 1.0
"""Seconds between a closed channel and the end of the engine's client."""
_TEARDOWN = 10.0
"""Seconds that an engine may take to remove a container that has ended."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run the agent in a container."""

    options: tuple[str, ...]
    """Of the engine's `run`."""
    program: tuple[str, ...]


def ways(engine: Engine) -> tuple[Way, ...]:
    """Return the ways to try, best first: no capability and a user namespace; then root with four capabilities.

    From a user namespace a new /proc, and the /sys of `ip netns exec`, can be mounted only where nothing of the
    container's own is hidden (mount_too_revealing in fs/namespace.c). Docker's seccomp filter allows unshare(2),
    mount(2) and setns(2) only to containers that may have CAP_SYS_ADMIN; a user other than root, who can gain no
    privileges, still has it not.
    """
    # Their AppArmor profiles forbid mounts; where there is no AppArmor the option means nothing.
    common = ("--cap-drop=ALL", "--security-opt=apparmor=unconfined", "--security-opt=no-new-privileges")
    if engine.kind == "podman":
        plain: tuple[str, ...] = ("--security-opt=unmask=ALL",)
    else:
        plain = ("--cap-add=SYS_ADMIN", "--security-opt=systempaths=unconfined")
    capabilities = tuple(f"--cap-add={name}" for name in ROOT_CAPABILITIES)
    return (
        Way((*common, *plain), ("unshare", *OWN_USER, *MAKE_NAMESPACES, *_AGENT, NAME)),
        Way((*common, "--user=0", *capabilities), ("unshare", *MAKE_NAMESPACES, *_AGENT, f"{NAME}, as root")),
    )


def guest_way() -> Way:
    """Return the way to run the agent in a guest in the container: an emulated processor needs no privileges at all."""
    return Way(("--cap-drop=ALL", "--security-opt=no-new-privileges"), _GUEST)


class StdioWire:
    """A channel's bytes over a child's pipes; the four calls of a socket that `Channel` makes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None  # noqa: S101 - both are piped
        assert process.stdout is not None  # noqa: S101
        self._in, self._out = process.stdin, process.stdout

    def recv(self, size: int) -> bytes:
        """Return what has come, at most `size` bytes; b"" at the end."""
        return os.read(self._out.fileno(), size)

    def sendall(self, data: bytes) -> None:
        """Write every byte. Raises OSError when the other side has gone."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._in.write(view) :]
        except ValueError as error:  # closed meanwhile
            raise BrokenPipeError(str(error)) from error

    def shutdown(self, how: int) -> None:
        """Hang up: the agent's input ends."""
        with contextlib.suppress(OSError):
            self._in.close()

    def close(self) -> None:
        """Let go of the pipes."""
        for stream in (self._in, self._out):
            with contextlib.suppress(OSError):
                stream.close()


class StartedContainer:
    """A container that has been started; whether its agent lives shows on the channel."""

    def __init__(self, engine: Engine, name: str, process: subprocess.Popen[bytes]) -> None:
        self._engine = engine
        self.name = name
        self.process = process
        """The engine's client; the container is the engine's own child."""
        self.wire = StdioWire(process)
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._listener = threading.Thread(target=self._listen, name="kplab-container", daemon=True)
        self._listener.start()
        self._ended = False

    def said(self) -> str:
        """Return what the engine and the agent said last on standard error."""
        return "\n".join(self._lines)

    def last_words(self) -> str:
        """Return the same and the exit status, when the channel has closed: the end is then a moment away."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_MOMENT)
            self._listener.join(_MOMENT)
        status = self.process.poll()
        text = self.said()
        if not status:
            return text
        how = "the container was killed" if status in (137, -9) else f"exit status {status}"
        return f"{text} ({how})" if text else how

    def refused(self) -> bool:
        """Tell whether the namespaces could not be made, so that another way may still work."""
        return any(line.startswith("unshare: ") for line in self._lines)

    def wait(self, seconds: float) -> None:
        """Wait for the container's end, once the channel has been closed; what does not end is removed."""
        if self._ended:
            return
        self._ended = True
        try:
            self.process.wait(max(seconds, _TEARDOWN))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(EngineError):
                ask((*self._engine.command, "rm", "--force", self.name))
            self.process.kill()
            self.process.wait()
        self._listener.join(_MOMENT)
        self.wire.close()

    def _listen(self) -> None:
        assert self.process.stderr is not None  # noqa: S101 - it is piped
        with self.process.stderr as stream:
            for line in stream:
                self._lines.append(line.decode(errors="replace").rstrip())


def start_container(engine: Engine, image: Image, way: Way) -> StartedContainer:
    """Start the agent in a container of its own.

    Raises:
        EngineError: the engine's client cannot be run.
    """
    name = f"kplab-{os.getpid()}-{secrets.token_hex(4)}"
    argv = (
        *engine.command, "run", "--rm", "--interactive", "--name", name, "--label", "kplab=lab", "--pull=never",
        "--network=none", "--no-healthcheck", "--log-driver=none", *way.options, *engine.run_options,
        image.name, *way.program,
    )  # fmt: skip
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            # Ctrl-C at the terminal is the face's to handle; the lab ends when the channel closes.
            start_new_session=True,
        )
    except OSError as error:
        raise EngineError("start a lab in a container", error.strerror or str(error), "kplab doctor") from error
    return StartedContainer(engine, name, process)
