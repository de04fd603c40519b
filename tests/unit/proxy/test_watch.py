"""When a manifest counts as changed."""

from __future__ import annotations

import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from kplab.errors import ManifestError
from kplab.proxy.watch import POLL_PERIOD, ManifestWatch

pytestmark = pytest.mark.unit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A manifest."""
    made = tmp_path / "manifest.yaml"
    made.write_text("one")
    return made


@pytest.fixture
def watch(path: Path) -> Iterator[ManifestWatch]:
    """A watch whose file has been read once."""
    made = ManifestWatch(path)
    made.read()
    yield made
    made.close()


def wait(watch: ManifestWatch) -> bool:
    """Take in the events that come within five seconds; tell whether there were any."""
    ready = select.select([watch.fileno()], [], [], 5.0)[0]
    if ready:
        watch.events()
    return bool(ready)


def test_a_file_that_was_read_is_unchanged(watch: ManifestWatch) -> None:
    """Nor does a look at its time and size say otherwise."""
    assert not watch.changed(0.0)
    assert not watch.changed(POLL_PERIOD)


def test_a_file_is_not_read_while_its_writer_has_it_open(watch: ManifestWatch, path: Path) -> None:
    """Only the close makes it changed: half a manifest is often a valid one."""
    with path.open("w") as file:
        file.write("half")
        file.flush()
        assert select.select([watch.fileno()], [], [], 0.0)[0] == []
    assert wait(watch)
    assert watch.changed(0.0)
    assert watch.read().text == "half"


def test_a_replacement_is_noticed(watch: ManifestWatch, path: Path) -> None:
    """By rename over the old name, twice: the watch outlives the first file."""
    for text in ("two", "three"):
        new = path.with_name("new")
        new.write_text(text)
        new.rename(path)

        assert wait(watch)
        assert watch.changed(0.0)
        assert watch.read().text == text


def test_other_files_of_the_folder_do_not_count(watch: ManifestWatch, path: Path) -> None:
    """An editor's backup next to it is no change."""
    path.with_name("manifest.yaml~").write_text("x")

    assert wait(watch)
    assert not watch.changed(0.0)


def test_without_events_a_look_finds_the_change_once_it_has_settled(path: Path) -> None:
    """Two looks that see the same, and not what was read."""
    watch = ManifestWatch(path)
    watch.read()
    watch.close()
    watch.changed(0.0)
    path.write_text("changed without an event")

    assert not watch.changed(POLL_PERIOD / 2)
    assert not watch.changed(POLL_PERIOD)
    assert watch.changed(2 * POLL_PERIOD)


def test_a_file_that_is_not_there_is_told_by_name(tmp_path: Path) -> None:
    """With the system's reason."""
    watch = ManifestWatch(tmp_path / "none.yaml")

    with pytest.raises(ManifestError, match=r"none\.yaml: cannot be read: No such file or directory"):
        watch.read()
    watch.close()
