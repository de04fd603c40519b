"""The user's end of the channel: requests out, answers in, each to whoever waits for it.

A thread of its own reads. When the agent goes, everybody who waits is told at once; nobody hangs.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import structs

from kplab import errors
from kplab.errors import KplabError, LabError, ProtocolError
from kplab.protocol.frames import encode, user_side
from kplab.protocol.messages import Failed, Progress, ShellData, ShellEnded, ToAgent, ToUser

_CHUNK = 1 << 20
_LEAVE = 5.0
"""Seconds that a sender waits for an agent that does not read."""


class Wire(Protocol):
    """What carries the bytes: a socket, or a container's standard input and output."""

    def recv(self, size: int, /) -> bytes:
        """Return what has come; b"" when the other side has gone."""

    def sendall(self, data: bytes, /) -> None:
        """Send every byte."""

    def shutdown(self, how: int, /) -> None:
        """Hang up: the other side sees the end."""

    def close(self) -> None:
        """Let go of it."""


class Listener(Protocol):
    """Takes what a shell prints, and its end."""

    def printed(self, data: bytes) -> None:
        """Take printed bytes."""

    def has_ended(self) -> None:
        """The shell is gone, or the lab is."""


class Channel:
    """Speaks the protocol over a wire; safe to use from several threads."""

    def __init__(self, sock: Wire, why_gone: Callable[[], str]) -> None:
        """`why_gone` is asked, when the agent has gone, for what it said last."""
        self._socket = sock
        self._why_gone = why_gone
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[ToUser | None]] = {}
        self._shells: dict[int, Listener] = {}
        self._closed = False
        self._gone: str | None = None
        self._reader = threading.Thread(target=self._read, name="kplab-channel", daemon=True)
        self._reader.start()

    def ask(self, request: ToAgent, limit: float | None, progress: Callable[[Progress], None] | None = None) -> ToUser:
        """Send a request and return its answer. `progress` is called, in this thread, with what comes before it.

        A request that has a number already (a shell's) keeps it; every other gets one.

        Raises:
            KplabError: whatever the agent answered with.
            ProtocolError: the agent has gone, or has not answered within `limit` seconds.
        """
        answers: queue.SimpleQueue[ToUser | None] = queue.SimpleQueue()
        number = request.id or next(self._numbers)
        with self._lock:
            self._check()
            self._waiting[number] = answers
        try:
            self.tell(structs.replace(request, id=number))
            until = None if limit is None else time.monotonic() + limit
            while True:
                try:
                    answer = answers.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
                except queue.Empty:
                    raise ProtocolError(
                        f"ask the lab ({type(request).__name__})",
                        f"it has not answered within {limit:g} s",
                        "see what the machine is busy with; then end the lab and start it anew",
                    ) from None
                match answer:
                    case None:
                        raise self._lost()
                    case Progress():
                        if progress:
                            progress(answer)
                    case Failed():
                        raise error_of(answer)
                    case _:
                        return answer
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def tell(self, message: ToAgent) -> None:
        """Send a message that has no answer.

        Raises:
            ProtocolError: the agent has gone, or it is too long.
        """
        frame = encode(message)
        try:
            with self._sending:
                self._check()
                self._socket.sendall(frame)
        except OSError as error:
            raise self._lost() from error

    def open_shell(self, listener: Listener) -> int:
        """Return a number for a new shell, whose output then goes to `listener`."""
        with self._lock:
            self._check()
            number = next(self._numbers)
            self._shells[number] = listener
        return number

    def forget_shell(self, number: int) -> None:
        """Hand a shell's output to nobody any more."""
        with self._lock:
            self._shells.pop(number, None)

    @property
    def gone(self) -> bool:
        """Whether the agent has gone, or we have hung up."""
        return self._gone is not None or self._closed

    def wait_gone(self, seconds: float) -> bool:
        """Wait for the agent to hang up; tell whether it has."""
        self._reader.join(seconds)
        return not self._reader.is_alive()

    def close(self) -> None:
        """Hang up; whoever still waits is told."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if threading.current_thread() is not self._reader:
            self._reader.join(_LEAVE)
        self._socket.close()

    def _check(self) -> None:
        if self.gone:
            raise self._lost()

    def _lost(self) -> ProtocolError:
        if self._closed:
            return ProtocolError("talk to the lab", "this session is closed", "start a new lab")
        return ProtocolError(
            "talk to the lab",
            "its agent has gone" + (f": {self._gone}" if self._gone else ""),
            "everything of that lab is gone with it; start a new one",
        )

    def _read(self) -> None:
        decoder = user_side()
        reason = ""
        while True:
            try:
                data = self._socket.recv(_CHUNK)
                if not data:
                    break
                messages = decoder.feed(data)
            except OSError:
                break
            except ProtocolError as error:
                reason = str(error)
                break
            for message in messages:
                self._hand_out(message)
        if not self._closed:
            reason = reason or self._why_gone()
        with self._lock:
            self._gone = reason
            waiting, shells = list(self._waiting.values()), list(self._shells.values())
        for answers in waiting:
            answers.put(None)
        for shell in shells:
            shell.has_ended()

    def _hand_out(self, message: ToUser) -> None:
        with self._lock:
            answers = self._waiting.get(message.id)
            shell = self._shells.get(message.id)
        match message:
            case ShellData() if shell:
                shell.printed(message.data)
            case ShellEnded() if shell:
                shell.has_ended()
            case _ if answers:
                answers.put(message)
            case _:
                return  # the answer to a question that was given up


def error_of(message: Failed) -> KplabError:
    """Return the error that the agent raised, as our own class of that name."""
    kind = getattr(errors, message.error, LabError)
    if not (isinstance(kind, type) and issubclass(kind, KplabError)):
        kind = LabError
    return kind(message.tried, message.happened, message.hint)
