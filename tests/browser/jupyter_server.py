"""A JupyterLab of the test's own: on the loopback only, its every file in a folder that goes away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USER_SETTINGS = {
    "notebook-extension/tracker": {"autoStartDefaultKernel": True},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
"""No questions: which kernel, and whether it may fetch news."""
START_LIMIT = 60.0
END_LIMIT = 30.0


@contextmanager
def jupyter_lab(folder: Path, state: Path) -> Iterator[str]:
    """Run JupyterLab on `folder`, all that it keeps in `state`; give its address; end it and its kernels."""
    places = {f"JUPYTER_{name}_DIR": str(state / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    places["JUPYTERLAB_SETTINGS_DIR"] = str(state / "settings")
    for name, chosen in USER_SETTINGS.items():
        kept = state / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(chosen))
    settings = (
        "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0", f"--ServerApp.root_dir={folder}",
        "--IdentityProvider.token=", "--ServerApp.password=", "--ServerApp.disable_check_xsrf=True",
        "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    )  # fmt: skip
    log = state / "jupyter.log"
    environment = {**os.environ, **places, "HOME": str(state), "JUPYTER_PREFER_ENV_PATH": "1"}
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *settings], env=environment, stdout=out, stderr=out, cwd=folder
        )
        try:
            yield _address(server, state / "runtime", log)
        finally:
            server.terminate()
            try:
                server.wait(END_LIMIT)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _address(server: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    """Wait until the server has written where it listens, and answers there."""
    limit = time.monotonic() + START_LIMIT
    while time.monotonic() < limit:
        if server.poll() is not None:
            raise AssertionError(f"JupyterLab ended with status {server.returncode}:\n{log.read_text()}")
        written = runtime / f"jpserver-{server.pid}.json"
        if written.exists() and written.read_text():
            url: str = json.loads(written.read_text())["url"]
            if _told(f"{url}api/status") is not None:
                return url
        time.sleep(0.05)
    raise AssertionError(f"JupyterLab was not up after {START_LIMIT:.0f} s:\n{log.read_text()}")


def _told(url: str) -> Any:
    """Return what the server answers as JSON; None while it does not listen yet, or is not ready to say."""
    try:
        with urllib.request.urlopen(url, timeout=START_LIMIT) as answer:  # noqa: S310  # the server just begun
            return json.load(answer)
    except urllib.error.URLError:
        return None


def wait_for_kernel(address: str, pause: Callable[[], None]) -> None:
    """Wait until a page is connected to the server's one kernel, which has nothing to do: an earlier cell is lost.

    `pause` waits a moment, and lets the page go on meanwhile.
    """
    limit = time.monotonic() + START_LIMIT
    while time.monotonic() < limit:
        kernels = _told(f"{address}api/kernels")
        if kernels and kernels[0]["connections"] and kernels[0]["execution_state"] == "idle":
            return
        pause()
    raise AssertionError(f"no kernel was ready after {START_LIMIT:.0f} s")


def end_kernels(address: str) -> None:
    """End every session of the server's, as "Shut Down Kernel" does."""
    for session in _told(f"{address}api/sessions") or ():
        asked = urllib.request.Request(f"{address}api/sessions/{session['id']}", method="DELETE")  # noqa: S310
        urllib.request.urlopen(asked, timeout=START_LIMIT).close()  # noqa: S310
