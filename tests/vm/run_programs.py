"""Runs in the guest: takes programs over the serial port, one at a time, and answers with what they left.

A request is one line of JSON: argv, stdin, limit (seconds); an answer is one line: status, stdout, stderr.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from kplab.agent.port import listen_on_port


def run(argv: list[str], stdin: str, limit: float) -> dict[str, Any]:
    """Run a program; status 124 when it was not done in time, 127 when it is not there."""
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, errors="replace", timeout=limit, check=False, cwd="/"
        )
    except subprocess.TimeoutExpired as late:
        return {"status": 124, "stdout": _text(late.stdout), "stderr": f"{_text(late.stderr)}\nnot done in {limit} s"}
    except OSError as error:
        return {"status": 127, "stdout": "", "stderr": str(error)}
    return {"status": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def _text(printed: object) -> str:
    return printed.decode(errors="replace") if isinstance(printed, bytes) else str(printed or "")


def main(port: str) -> None:
    """Serve one connection after the other, until the guest ends."""
    listener = listen_on_port(port)
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rw") as lines:
            for line in lines:
                lines.write(json.dumps(run(**json.loads(line))) + "\n")
                lines.flush()


if __name__ == "__main__":
    main(sys.argv[1])
