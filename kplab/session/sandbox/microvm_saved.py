"""Guests saved where their agent waits to be wanted, so that the next start need neither boot nor load anything.

What is saved is QEMU's migration stream, in the cache, under a name made from everything that it depends on: kernel,
first file system (which stands for kplab, Python and their libraries), QEMU, its command line and the processor.
"""

from __future__ import annotations

import array
import contextlib
import hashlib
import json
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kplab.errors import SandboxError
from kplab.session.sandbox.guest_cache import finish, no_room, partial_path

SAVE_LIMIT = 30.0
_PATIENCE = 0.01
_UNLIMITED = 1 << 40
"""Bytes a second."""


def saved_path(cache: Path, command: Sequence[str], image: Path) -> Path:
    """Return where a guest that is started by a command is saved; `command` with the same descriptors each time."""
    depends = [*command, *(_stamp(Path(path)) for path in (command[0], image)), _processor()]
    return cache / f"saved-{hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:16]}"


def save(monitor: socket.socket, path: Path, limit: float = SAVE_LIMIT) -> None:
    """Save a guest, and have it go on.

    Raises:
        SandboxError: there is no room, or QEMU refuses or is not done in time. The guest may stand still then.
    """
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            talk = _Monitor(monitor, limit)
            talk.run("migrate-set-parameters", {"max-bandwidth": _UNLIMITED})
            talk.run("getfd", {"fdname": "saved"}, file.fileno())
            talk.run("migrate", {"uri": "fd:saved"})
            talk.wait_migrated()
        talk.run("cont")
        finish(partial, path)
    except OSError as error:
        raise no_room(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


class _Monitor:
    """QEMU's machine protocol (docs/interop/qmp-spec.txt)."""

    def __init__(self, sock: socket.socket, limit: float) -> None:
        self._socket = sock
        self._until = time.monotonic() + limit
        self._rest = b""
        self._next("QMP")
        self.run("qmp_capabilities")

    def run(self, command: str, arguments: dict[str, Any] | None = None, descriptor: int | None = None) -> Any:
        """Run a command; a descriptor goes with it."""
        words = json.dumps({"execute": command, "arguments": arguments or {}}).encode() + b"\n"
        with_it = [] if descriptor is None else [descriptor]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", with_it))] if with_it else []
        self._socket.sendmsg([words], rights)
        return self._next("return")

    def wait_migrated(self) -> None:
        while (status := self.run("query-migrate").get("status")) != "completed":
            if status in ("failed", "cancelled"):
                raise SandboxError("save the guest", f"QEMU says: {status}")
            if time.monotonic() > self._until:
                raise SandboxError("save the guest", "it is not done in time")
            time.sleep(_PATIENCE)

    def _next(self, key: str) -> Any:
        """Return what the next message with a key says; events are passed over."""
        while True:
            while b"\n" not in self._rest:
                self._socket.settimeout(max(0.01, self._until - time.monotonic()))
                try:
                    data = self._socket.recv(65536)
                except TimeoutError as error:
                    raise SandboxError("save the guest", "QEMU does not answer") from error
                if not data:
                    raise SandboxError("save the guest", "QEMU has gone")
                self._rest += data
            line, _, self._rest = self._rest.partition(b"\n")
            message = json.loads(line)
            if key in message:
                return message[key]
            if "error" in message:
                raise SandboxError("save the guest", message["error"].get("desc", ""))


def _stamp(path: Path) -> str:
    with contextlib.suppress(OSError):
        found = path.stat()
        return f"{found.st_mtime_ns} {found.st_size}"
    return ""


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line
    return os.uname().machine
