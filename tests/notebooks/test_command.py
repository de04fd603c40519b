"""`kplab notebook` becomes a JupyterLab of this machine's own."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.notebooks, pytest.mark.timeout(300)]

LIMIT = 120.0
"""Seconds until JupyterLab answers, on a machine that is busy with other tests."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def listening(port: int) -> list[str]:
    """The addresses on which somebody listens at that port."""
    done = subprocess.run(["ss", "-ltnH", f"sport = :{port}"], capture_output=True, text=True, check=True)
    return [line.split()[3] for line in done.stdout.splitlines()]


def test_it_serves_the_copies_on_loopback_and_ends_when_told(own_state: Path, tmp_path: Path) -> None:
    """The notebooks are copied, only 127.0.0.1 listens, a token is asked for, and SIGTERM ends it."""
    port, folder, log = free_port(), tmp_path / "mine", tmp_path / "log"
    argv = [sys.executable, "-m", "kplab.cli.main", "notebook", "--no-browser", "--port", str(port)]
    places = {f"JUPYTER_{name}_DIR": str(own_state / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(own_state), **places}
    with log.open("w") as out:
        server = subprocess.Popen([*argv, "--folder", str(folder)], stdout=out, stderr=out, env=environment)
    try:
        until = time.monotonic() + LIMIT
        while not listening(port) and server.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        assert listening(port) == [f"127.0.0.1:{port}"], log.read_text()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents", timeout=LIMIT)
        assert re.search(rf"http://127\.0\.0\.1:{port}/lab/tree/01-the-packet-path\.ipynb\?token=", log.read_text())
        assert [path.name[:2] for path in sorted(folder.glob("*.ipynb"))] == ["01", "02", "03", "04"]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(LIMIT)
    assert not listening(port)
