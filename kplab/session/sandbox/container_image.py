"""The container's image: which one, whether it is there and of this kplab, and how it is built or pulled."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kplab import __version__
from kplab.errors import EngineError, ImageError, ImageMissingError
from kplab.session.sandbox.container_engine import Engine, ask

LAB, IPVS, JUPYTER = "lab", "ipvs", "jupyter"
"""Stages of the Containerfile."""
VARIABLES = {LAB: "KPLAB_IMAGE", IPVS: "KPLAB_IMAGE_IPVS"}
"""Environment variables that name another image."""
VERSION_LABEL = "org.opencontainers.image.version"
MAKE = "kplab doctor --build"
_KEPT_LINES = 20
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")
_TOP = ("pyproject.toml", "README.md", "LICENSE")
_BESIDE = ("lessons", "notebooks")
"""Folders that a checkout has beside the package, and an installed kplab inside it."""

Say = Callable[[str], None]
"""Told each line that the engine prints."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that a lab needs."""

    name: str
    stage: str

    @property
    def ours(self) -> bool:
        """Whether it is built here; any other name is pulled from its registry."""
        return self.name.startswith("localhost/")


def image_for(stage: str, environment: Mapping[str, str] = os.environ) -> Image:
    """Return the image of a stage: the one that its variable names, else the one that is built here."""
    suffix = "" if stage == LAB else f"-{stage}"
    named = environment.get(VARIABLES.get(stage, ""), "").strip()
    return Image(named or f"localhost/kplab:{__version__}{suffix}", stage)


def require_image(engine: Engine, image: Image) -> None:
    """Do nothing when the image is there and holds this version of kplab.

    Raises:
        ImageMissingError: it is not there. ImageError: it holds another version. EngineError: the engine fails.
    """
    answer = ask((*engine.command, "image", "inspect", "--format", "{{json .Config.Labels}}", image.name))
    if answer.status != 0:
        if "no such" not in answer.error.lower() and "not known" not in answer.error.lower():
            raise EngineError(f"look for the image {image.name} with {engine.name}", answer.error, "kplab doctor")
        raise ImageMissingError(
            f"start a lab in a container of {engine.name}",
            f"the image {image.name} is not on this machine",
            f"{what_it_takes(image)}: {MAKE}",
            image=image.name,
            stage=image.stage,
        )
    held = _version(answer.output)
    if held and held != __version__:
        raise ImageError(
            f"start a lab in a container of {engine.name}",
            f"the image {image.name} holds kplab {held}, and this is kplab {__version__}",
            f"make it anew: {MAKE}" if image.ours else f"name one of this version: {VARIABLES[image.stage]}=…",
        )


def what_it_takes(image: Image) -> str:
    """Return, in words, how the image comes to this machine."""
    if not image.ours:
        return "pull it from its registry"
    return "build it from kplab's own files, with packages from Debian and PyPI"


def make_image(engine: Engine, image: Image, say: Say) -> None:
    """Build the image, or pull it; blocks until it is there.

    Raises:
        ImageError: the engine failed; with the last lines that it printed.
    """
    if not image.ours:
        _run(engine, (*engine.command, "pull", image.name), image, say)
        return
    with tempfile.TemporaryDirectory(prefix="kplab-image-") as folder:
        source = Path(folder)
        lay_out_source(source)
        form = ("--format", "docker") if engine.kind == "podman" else ()  # else there is no health check
        argv = (
            *engine.command, "build", *form, "--file", str(source / "containers/Containerfile"),
            "--target", image.stage, "--tag", image.name, "--build-arg", f"VERSION={__version__}",
            *engine.build_options, folder,
        )  # fmt: skip
        _run(engine, argv, image, say)


def lay_out_source(folder: Path, package: Path | None = None) -> None:
    """Lay out what the Containerfile copies, as a checkout has it, from a checkout or from an installed kplab.

    Raises:
        ImageError: a part is missing.
    """
    inside = package or Path(__file__).resolve().parents[2]
    checkout = inside.parent
    installed = (inside / "containers").is_dir()
    shutil.copytree(
        inside, folder / "kplab",
        ignore=lambda at, names: {*_LEFT_OUT(at, names), *(_BESIDE if Path(at) == inside else ())} | (
            {"containers"} if Path(at) == inside else set()),
    )  # fmt: skip
    top = inside / "containers/source" if installed else checkout
    try:
        for name in _BESIDE:
            found = (inside if installed else checkout) / name
            shutil.copytree(found, folder / name, ignore=_LEFT_OUT)
        images = (inside if installed else checkout) / "containers"
        shutil.copytree(images, folder / "containers", ignore=shutil.ignore_patterns("source"))
        shutil.copytree(top / "requirements", folder / "requirements")
        for name in _TOP:
            shutil.copy(top / name, folder / name)
    except OSError as error:
        raise ImageError(
            "lay out the files for an image", str(error), "install kplab anew, or use a checkout"
        ) from error


def _run(engine: Engine, argv: tuple[str, ...], image: Image, say: Say) -> None:
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    tried = f"{'build' if image.ours else 'pull'} the image {image.name}"
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", env={**os.environ, "DOCKER_BUILDKIT": "1"},
        )  # fmt: skip
    except OSError as error:
        raise EngineError(tried, error.strerror or str(error), "kplab doctor") from error
    assert process.stdout is not None  # noqa: S101 - it is piped
    try:
        with process.stdout:
            for line in process.stdout:
                last.append(line.rstrip())
                say(line.rstrip())
    except BaseException:  # Ctrl-C: the engine is not to go on for nobody
        process.kill()
        process.wait()
        raise
    if process.wait() != 0:
        raise ImageError(
            tried,
            f"`{shlex.join(argv[:-1])}` ended with status {process.returncode}; its last lines:\n" + "\n".join(last),
            f"see docs/containers.md for proxies, certificates and options of {engine.name}'s build",
        )


def _version(labels: str) -> str:
    """Return the version among an image's labels, "" if there is none."""
    try:
        found = json.loads(labels)
    except ValueError:
        return ""
    return str(found.get(VERSION_LABEL, "")) if isinstance(found, dict) else ""
