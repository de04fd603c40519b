"""`import kplab` is light, and what is missing is said in words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kplab.errors import ProgramError

pytestmark = pytest.mark.unit

HEAVY = ["anywidget", "IPython", "ipywidgets", "networkx", "pandas", "matplotlib", "msgspec", "kplab.jupyter"]
WITHOUT = """
import sys

class Fewer:
    # Every finder but for what the extra brings.
    def __init__(self, finders):
        self.finders = finders

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("anywidget", "IPython", "ipywidgets", "networkx", "graphviz", "pandas"):
            return None
        return next((found for each in self.finders if (found := each.find_spec(name, path, target))), None)

sys.meta_path[:] = [Fewer(list(sys.meta_path))]
"""
BUILD = """
import kplab
from kplab.errors import NotInstalledError

try:
    kplab.Lab()
except NotInstalledError as error:
    print(error)
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_import_kplab_brings_nothing_in() -> None:
    """The package alone loads no toolkit and none of its faces."""
    done = python(f"import kplab, sys; print(*sorted(set(sys.modules) & set({HEAVY!r})))")

    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_without_the_extra_the_lab_names_the_command() -> None:
    """`kplab.Lab` can be imported; building one says what is missing and how to get it."""
    done = python(WITHOUT + BUILD)

    assert done.returncode == 0, done.stderr
    assert "pip install 'kplab[notebook]'" in done.stdout


def test_an_unknown_name_is_an_attribute_error() -> None:
    """`kplab.Lap` fails as any module's missing name does."""
    done = python("import kplab; print(hasattr(kplab, 'Lap'), 'Lab' in dir(kplab))")

    assert done.stdout.split() == ["False", "True"]


def test_an_error_is_a_few_lines_without_a_traceback() -> None:
    """IPython asks an exception for its own lines: what was tried, what happened, what to do."""
    error = ProgramError("read the table", "no such file", "install conntrack")

    assert error._render_traceback_() == ["ProgramError: read the table: no such file\n  install conntrack"]
