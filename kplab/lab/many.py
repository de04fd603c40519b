"""Many connections, one after the other, and who answered each.

Run in a namespace inside a lab: `python -m kplab.lab.many ADDRESS PORT TIMES`. Each connection asks as HTTP does, and
reads until the other side closes; the pods' servers answer with their names.

Prints one line of JSON: {"answers": ["web-1", …], "failed": {"why": times}}; a connection that failed has no answer.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections import Counter
from collections.abc import Sequence

PATIENCE = 2.0
"""Seconds that one connection may take."""
GIVE_UP = 5
"""Failures, after which nothing more is tried: each may take its whole time."""
_REQUEST = b"GET / HTTP/1.0\r\n\r\n"


def main(argv: Sequence[str]) -> int:
    """Connect, print, and return 0."""
    address, port, times = argv
    answers: list[str] = []
    failed: Counter[str] = Counter()
    for _ in range(int(times)):
        try:
            answers.append(_ask((address, int(port))))
        except OSError as error:
            failed[_reason(error)] += 1
            if failed.total() >= GIVE_UP:
                break
    print(json.dumps({"answers": answers, "failed": failed}))  # noqa: T201 - it is its answer
    return 0


def _ask(target: tuple[str, int]) -> str:
    with socket.create_connection(target, timeout=PATIENCE) as connection:
        connection.sendall(_REQUEST)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.partition(b"pod: ")[2].partition(b"\n")[0].decode(errors="replace").strip()


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
