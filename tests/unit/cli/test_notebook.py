"""Copies of the notebooks: what the user changed is never written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.cli.notebook import RECORD, copy_notebooks, jupyter_command, require_jupyterlab, shipped_folder
from kplab.errors import NotInstalledError, UsageError

pytestmark = pytest.mark.unit

NAME = "01-a.ipynb"


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A folder with one notebook of ours."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / NAME).write_text("one")
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The user's folder, which is not there yet."""
    return tmp_path / "deep" / "mine"


def held(folder: Path) -> dict[str, str]:
    """Every notebook of a folder, by name."""
    return {path.name: path.read_text() for path in folder.glob("*.ipynb")}


def test_the_first_time_all_are_copied_and_then_nothing_is(shipped: Path, mine: Path) -> None:
    """The folder is made; a second call finds nothing to do."""
    assert list(copy_notebooks(shipped, mine)) == [f"new: {NAME}"]
    assert list(copy_notebooks(shipped, mine)) == []
    assert held(mine) == {NAME: "one"}


def test_a_changed_notebook_stays_and_a_newer_one_is_put_beside(shipped: Path, mine: Path) -> None:
    """The user's own is as it was; the newer one is said once, and a still newer one replaces it."""
    list(copy_notebooks(shipped, mine))
    (mine / NAME).write_text("my own")
    assert list(copy_notebooks(shipped, mine)) == []

    (shipped / NAME).write_text("two")
    assert list(copy_notebooks(shipped, mine)) == [f"newer: 01-a.new.ipynb, beside your own {NAME}"]
    assert list(copy_notebooks(shipped, mine)) == []
    (shipped / NAME).write_text("three")
    list(copy_notebooks(shipped, mine))

    assert held(mine) == {NAME: "my own", "01-a.new.ipynb": "three"}


def test_what_the_user_did_with_the_newer_one_stays_too(shipped: Path, mine: Path) -> None:
    """A changed NAME.new.ipynb is not written over either."""
    list(copy_notebooks(shipped, mine))
    for version, name in (("two", NAME), ("three", "01-a.new.ipynb")):
        (mine / name).write_text("my own")
        (shipped / NAME).write_text(version)
        list(copy_notebooks(shipped, mine))

    assert held(mine) == {NAME: "my own", "01-a.new.ipynb": "my own", "01-a.new2.ipynb": "three"}


def test_an_unchanged_notebook_is_renewed(shipped: Path, mine: Path) -> None:
    """What the user never touched becomes the newer one."""
    list(copy_notebooks(shipped, mine))
    (shipped / NAME).write_text("two")

    assert list(copy_notebooks(shipped, mine)) == [f"renewed: {NAME}, which you had not changed"]
    assert held(mine) == {NAME: "two"}


@pytest.mark.parametrize("record", [None, "not json", "[]"])
def test_without_a_record_everything_there_is_the_users(shipped: Path, mine: Path, record: str | None) -> None:
    """A lost or broken record never costs a notebook."""
    mine.mkdir(parents=True)
    (mine / NAME).write_text("my own")
    if record:
        (mine / RECORD).write_text(record)
    list(copy_notebooks(shipped, mine))

    assert held(mine) == {NAME: "my own", "01-a.new.ipynb": "one"}


def test_a_folder_that_cannot_be_written_is_named(shipped: Path, tmp_path: Path) -> None:
    """The error names the place, and another way."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--folder"):
        list(copy_notebooks(shipped, tmp_path / "file" / "folder"))


def test_without_jupyterlab_the_command_is_named() -> None:
    """What is missing, and how to get it."""
    with pytest.raises(NotInstalledError, match=r"jupyterlab is not installed\n  pip install 'kplab\[notebook\]'"):
        require_jupyterlab(lambda name: None if name == "jupyterlab" else name)


def test_jupyterlab_listens_on_loopback_only_and_asks_nobody(tmp_path: Path) -> None:
    """No other address, no news, no updates; a port that was asked for is that port or an error."""
    argv = jupyter_command(tmp_path, port=9000, browser=False, root=False)

    assert {"--ServerApp.ip=127.0.0.1", "--ServerApp.allow_remote_access=False", "--LabApp.news_url=None"} <= set(argv)
    assert {"--ServerApp.port=9000", "--ServerApp.port_retries=0", "--ServerApp.open_browser=False"} <= set(argv)
    assert not [each for each in argv if "token" in each or "password" in each or "allow_root" in each]
    assert "--ServerApp.allow_root=True" in jupyter_command(tmp_path, port=None, browser=True, root=True)


def test_four_notebooks_are_shipped() -> None:
    """They are found in a checkout as in an installed package."""
    assert [path.name[:2] for path in sorted(shipped_folder().glob("*.ipynb"))] == ["01", "02", "03", "04"]
