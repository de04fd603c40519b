"""A shell of the lab on the user's own terminal: what is typed goes in, what is printed comes out."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from kplab.session.base import Session, Shell


def relay_shell(session: Session, namespace: str) -> int:
    """Open a shell in `namespace` and give it this process's terminal until it ends; returns 0.

    Without a terminal, standard input is handed over as it is and its end closes the shell.
    """
    columns, rows = shutil.get_terminal_size()
    shell = session.shell(namespace, columns, rows)
    try:
        with _raw_terminal(), _resized(shell):
            printer = threading.Thread(target=_print_all, args=(shell,), daemon=True)
            printer.start()
            _type_all(shell)
            printer.join()
    finally:
        shell.close()
    return 0


def _print_all(shell: Shell) -> None:
    while True:
        data = shell.read(timeout=0.5)
        if data:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif shell.ended:
            return


def _type_all(shell: Shell) -> None:
    typed = sys.stdin.fileno()
    while not shell.ended:
        ready, _, _ = select.select([typed], [], [], 0.1)
        if not ready:
            continue
        data = os.read(typed, 4096)
        if not data:
            shell.write(b"\x04")  # end of file, as a terminal's line discipline spells it
            return  # the printer goes on until the shell has ended
        shell.write(data)


@contextmanager
def _raw_terminal() -> Iterator[None]:
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextmanager
def _resized(shell: Shell) -> Iterator[None]:
    """Pass on changes of the terminal's size; only the main thread may watch the signal."""

    def resize(number: int, frame: FrameType | None) -> None:
        columns, rows = shutil.get_terminal_size()
        shell.resize(columns, rows)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGWINCH, resize)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
