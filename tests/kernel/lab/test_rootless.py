"""A lab without any privileges, as the user nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).resolve().parents[3]
NOBODY = "65534"

STUDENT = """
import sys
from kplab.model.expression import parse_expression
from kplab.session.base import LabPlan
from kplab.session.live import start_lab
session = start_lab(LabPlan(manifest=open(sys.argv[1]).read(), backend=sys.argv[2]))
print(session.execute("client", ("curl", "-sS", "--max-time", "3", "http://10.96.0.42/")).stdout)
recording = session.send(parse_expression('IP(dst="10.96.0.42")/TCP(dport=80, flags="S")'), "client")
print("chains:", sorted({e.what.chain for e in recording.events if hasattr(e.what, "chain")}))
print("sandbox:", session.facts.sandbox)
session.close()
"""


def interpreter(home: Path) -> tuple[str, dict[str, str]]:
    """Return an interpreter that nobody may run, and the environment in which it finds kplab.

    A virtual environment's interpreter may lie in root's home; then the system's own of the same version serves.
    """
    paths = [str(ROOT), sysconfig.get_paths()["purelib"]]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": ":".join(paths)}
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        if os.geteuid() != 0:
            return sys.executable, environment
        # Twice removed: what setpriv starts may still be started with root's own rights.
        again = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
        argv = [*as_nobody(), candidate, "-c", again]
        done = subprocess.run(argv, env=environment, capture_output=True, check=False)
        if done.returncode == 0:
            return candidate, environment
    pytest.skip(f"user nobody may run no {version} here; apt-get install {version}")


def as_nobody() -> list[str]:
    """Return what is put before a program to run it as nobody; nothing when we are no longer root ourselves."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_a_lab_needs_no_privileges(tmp_path: Path, backend: str) -> None:
    """User nobody builds a lab, reaches a Service and traces a packet; no file is left in the home folder."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    program, environment = interpreter(home)
    argv = [*as_nobody(), program, "-c", STUDENT, str(ROOT / "lessons/cluster.yaml"), backend]
    done = subprocess.run(argv, env=environment, cwd="/", capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "pod: web-" in done.stdout
    assert "KUBE-SERVICES" in done.stdout
    assert "sandbox: namespaces\n" in done.stdout
    assert not list(home.iterdir())
