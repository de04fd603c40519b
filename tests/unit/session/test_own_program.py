"""Programs of kplab's own in a lab: by the Python that the lab's agent runs on, not by the user's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kplab.lab.start import lab_environment
from kplab.protocol.messages import PYTHON
from kplab.session.own_program import own_program

pytestmark = pytest.mark.unit


def test_the_lab_says_which_python_it_is(tmp_path: Path) -> None:
    """As in a container's image: the user's Python is there too, by the same path, and has no kplab."""
    image = tmp_path / "python of the image"
    image.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    image.chmod(0o755)
    argv = own_program("kplab.lab.many", "10.96.0.42", "two words")

    done = subprocess.run(argv, env={**os.environ, PYTHON: str(image)}, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["-P", "-m", "kplab.lab.many", "10.96.0.42", "two words"]
    assert sys.executable not in argv


def test_every_program_in_a_lab_is_told_the_agents_python() -> None:
    """Whatever the user has set; so a module of kplab's runs there."""
    argv = own_program("kplab.lab.many", "127.0.0.1", "1", "0")

    done = subprocess.run(argv, env=lab_environment(), capture_output=True, text=True, check=True)

    assert lab_environment()[PYTHON] == sys.executable
    assert done.stdout == '{"answers": [], "failed": {}}\n'
