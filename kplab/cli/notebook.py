"""`kplab notebook`: JupyterLab on the user's own copy of the notebooks, which is never written over."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import typer

from kplab.errors import NotInstalledError, UsageError

RECORD = ".kplab-notebooks.json"
"""In the user's folder: the digest of each notebook as we put it there, by which we know what the user changed."""
FIRST = "01-the-packet-path.ipynb"


def shipped_folder() -> Path:
    """Return the folder of the notebooks: in the installed package, else in the checkout that we run from."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "notebooks"
    return installed if installed.is_dir() else package.parent / "notebooks"


def notebook(folder: Path | None, *, port: int | None, browser: bool) -> NoReturn:
    """Copy what is new, and become JupyterLab.

    Raises:
        NotInstalledError: JupyterLab is not there; the hint has the command.
        UsageError: the folder cannot be written.
    """
    require_jupyterlab()
    place = (folder or Path.home() / "kplab-notebooks").expanduser().absolute()
    for line in copy_notebooks(shipped_folder(), place):
        typer.echo(line, err=True)
    typer.echo(f"notebooks are in {place}; Ctrl-C here ends JupyterLab, and every lab with it", err=True)
    argv = jupyter_command(place, port=port, browser=browser, root=os.geteuid() == 0)
    os.execv(argv[0], argv)  # noqa: S606 - this very process becomes JupyterLab, so that Ctrl-C is its own


def require_jupyterlab(has: Callable[[str], object] = find_spec) -> None:
    """Refuse where JupyterLab or the kernel's own packages are missing. Raises NotInstalledError."""
    missing = [name for name in ("jupyterlab", "ipykernel", "anywidget") if not has(name)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise NotInstalledError(
            "open the notebooks", f"{' and '.join(missing)} {verb} not installed", "pip install 'kplab[notebook]'"
        )


def jupyter_command(folder: Path, *, port: int | None, browser: bool, root: bool) -> list[str]:
    """Return the command line: this Python's JupyterLab, on loopback only, that asks nobody for news or updates."""
    argv = [
        sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", "--ServerApp.allow_remote_access=False",
        f"--ServerApp.root_dir={folder}", f"--LabApp.default_url=/lab/tree/{FIRST}",
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
        "--LabApp.news_url=None", "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    if port is not None:
        argv += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if not browser:
        argv.append("--ServerApp.open_browser=False")
    if root:
        # Jupyter refuses root for fear of what notebooks may do; a user who is root here has chosen to be.
        argv.append("--ServerApp.allow_root=True")
    return argv


def copy_notebooks(shipped: Path, folder: Path) -> Iterator[str]:
    """Bring the user's folder up to date, and yield a line for each notebook that was written.

    A notebook that the user changed, or ran, stays as it is: a newer one is put beside it as NAME.new.ipynb.

    Raises:
        UsageError: the folder or a file in it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        record = _read_record(folder / RECORD)
        for source in sorted(shipped.glob("*.ipynb")):
            data = source.read_bytes()
            line = _bring(data, folder / source.name, record)
            record[source.name] = _digest(data)
            if line:
                yield line
        _replace(folder / RECORD, (json.dumps(record, indent=1) + "\n").encode())
    except OSError as problem:
        name = problem.filename or folder
        raise UsageError(
            f"{name} cannot be written", problem.strerror or str(problem), "Name another folder: --folder FOLDER"
        ) from None


def _bring(data: bytes, target: Path, record: dict[str, str]) -> str:
    """Write one notebook where that loses nothing; return what was done, or nothing."""
    if not target.exists():
        _replace(target, data)
        return f"new: {target.name}"
    held = target.read_bytes()
    known = record.get(target.name)
    if held == data or known == _digest(data):
        return ""  # the same, or the user's own version of the one that is shipped
    if known == _digest(held):
        _replace(target, data)
        return f"renewed: {target.name}, which you had not changed"
    beside = _free_name(target, data, record)
    _replace(beside, data)
    record[beside.name] = _digest(data)
    return f"newer: {beside.name}, beside your own {target.name}"


def _free_name(target: Path, data: bytes, record: dict[str, str]) -> Path:
    """Return NAME.new.ipynb, or the first with a number that is free, ours and unchanged, or the same."""
    number = 1
    while True:
        beside = target.with_name(f"{target.stem}.new{'' if number == 1 else number}.ipynb")
        if not beside.exists() or beside.read_bytes() == data:
            return beside
        if record.get(beside.name) == _digest(beside.read_bytes()):
            return beside
        number += 1


def _read_record(path: Path) -> dict[str, str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in record.items()} if isinstance(record, dict) else {}


def _replace(target: Path, data: bytes) -> None:
    """Write whole or not at all: a notebook that is half there would be lost."""
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(data)
    part.replace(target)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
