"""A missing image is offered on a terminal, once; anywhere else the command that makes it is named."""

from __future__ import annotations

import sys

import pytest

from kplab.cli import app as commands
from kplab.cli import image as command
from kplab.cli import main as edge
from kplab.errors import ImageMissingError
from kplab.session.sandbox.container_engine import Engine
from kplab.session.sandbox.container_image import Image, Say

pytestmark = pytest.mark.unit

MISSING = ImageMissingError("start a lab in a container", "the image x is not on this machine", image="x", stage="lab")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    """The images that are made, by an engine that makes any; somebody answers yes to everything."""
    done: list[Image] = []

    def make(engine: Engine, image: Image, say: Say) -> None:
        say("STEP 1/1")
        done.append(image)

    monkeypatch.setattr(command, "find_engine", lambda: Engine("podman", ("podman",)))
    monkeypatch.setattr(command, "make_image", make)
    monkeypatch.setattr("typer.confirm", lambda question, **_: question.endswith("Debian and PyPI, now?"))
    return done


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> None:
    """Say whether standard input and error are a terminal."""
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: terminal)


def test_without_a_terminal_nothing_is_built(made: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe or a script nobody can be asked."""
    on_a_terminal(monkeypatch, terminal=False)

    assert command.offer(MISSING) is False
    assert made == []


def test_a_command_goes_on_once_its_image_is_there(
    made: list[Image], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command is run again after the image was made; were it missing still, that is the end."""
    on_a_terminal(monkeypatch, terminal=True)
    monkeypatch.setattr(sys, "argv", ["kplab", "trace", "x"])
    runs: list[int] = []

    def run() -> None:
        runs.append(1)
        raise MISSING

    monkeypatch.setattr(commands, "app", run)
    with pytest.raises(SystemExit) as ended:
        edge.main()

    assert (len(runs), [image.stage for image in made], ended.value.code) == (2, ["lab"], 3)
    assert "STEP 1/1" in capsys.readouterr().err
