"""A container engine is found and probed; one that is missing, refuses or hangs is named, with what it said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kplab.errors import EngineError, ImageError, ImageMissingError, UsageError
from kplab.session.sandbox.container_engine import Engine, find_engine
from kplab.session.sandbox.container_image import Image, image_for, lay_out_source, make_image, require_image

pytestmark = pytest.mark.unit

Install = Callable[[str, str], dict[str, str]]
WORKS = 'case "$1" in --version) echo "{name} version 1.2";; info) exit 0;; esac'
NO_RIGHTS = (
    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/info": dial unix /var/run/docker.sock: connect: permission denied'
)


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Return what puts an engine of one's own on a PATH that has nothing else, and gives the environment."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def put(name: str, script: str) -> dict[str, str]:
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return {"PATH": str(folder)}

    return put


def engine_at(environment: dict[str, str], name: str = "podman") -> Engine:
    """The engine of that name on that PATH, called by its whole path."""
    return find_engine({**environment, "KPLAB_ENGINE": f"{environment['PATH']}/{name}"})


def test_no_engine_names_those_looked_for(tmp_path: Path) -> None:
    """With what to install."""
    with pytest.raises(EngineError, match=r"not found: podman and docker\n  install Podman"):
        find_engine({"PATH": str(tmp_path)})


def test_podman_goes_before_docker_if_it_answers(install: Install) -> None:
    """It needs no right to a daemon's socket; where it refuses, Docker is asked."""
    install("docker", WORKS.format(name="Docker"))
    environment = install("podman", WORKS.format(name="podman"))
    assert find_engine(environment).name == "podman"

    install("podman", 'case "$1" in --version) echo podman version 4;; *) echo cannot clone >&2; exit 125;; esac')
    chosen = find_engine(environment)
    assert (chosen.name, chosen.kind, chosen.version) == ("docker", "docker", "Docker version 1.2")


def test_an_engine_without_rights(install: Install) -> None:
    """What it said, word for word, and the group that mends it."""
    environment = install(
        "docker", f"case $1 in --version) echo Docker version 27;; *) echo '{NO_RIGHTS}' >&2; exit 1;; esac"
    )

    with pytest.raises(EngineError) as caught:
        find_engine(environment)
    assert NO_RIGHTS in caught.value.happened
    assert "usermod -aG docker" in caught.value.hint


def test_a_daemon_that_does_not_run(install: Install) -> None:
    """Start it."""
    environment = install(
        "docker",
        'case "$1" in --version) echo Docker version 27;; '
        '*) echo "Cannot connect to the Docker daemon" >&2; exit 1;; esac',
    )

    with pytest.raises(EngineError, match=r"(?s)Cannot connect to the Docker daemon.*systemctl start docker"):
        find_engine(environment)


def test_an_engine_that_hangs(install: Install) -> None:
    """It is given up at the limit, and said to hang."""
    environment = install("podman", 'case "$1" in --version) echo podman version 4;; *) exec /bin/sleep 60;; esac')

    with pytest.raises(EngineError, match=r"run podman info: no answer within 0\.2 s: the engine hangs"):
        find_engine(environment, limit=0.2)


def test_settings_are_words_as_a_shell_reads_them(install: Install) -> None:
    """Quotes hold a word together; an engine may have options of its own before its commands."""
    environment = install("podman", f'[ "$1" = --runtime ] && shift 2\n{WORKS.format(name="podman")}')
    environment |= {
        "KPLAB_ENGINE": "podman --runtime runc",
        "KPLAB_ENGINE_RUN": "--ulimit nofile=1024:1024 --label 'two words'",
        "KPLAB_ENGINE_BUILD": "--network=host",
    }

    engine = find_engine(environment)
    assert engine.command == (f"{environment['PATH']}/podman", "--runtime", "runc")
    assert engine.run_options == ("--ulimit", "nofile=1024:1024", "--label", "two words")
    assert engine.build_options == ("--network=host",)


def test_a_quote_that_is_not_closed_names_its_variable(install: Install) -> None:
    """The mistake is the user's, and is told as such."""
    environment = install("podman", WORKS.format(name="podman"))

    with pytest.raises(UsageError, match="KPLAB_ENGINE_RUN cannot be read: No closing quotation: --label 'two"):
        find_engine({**environment, "KPLAB_ENGINE_RUN": "--label 'two"})


def inspecting(script: str) -> str:
    """An engine that answers, and does `script` for `image inspect`."""
    return f'case "$1" in --version) echo podman version 4;; image) {script};; esac'


@pytest.mark.parametrize("said", ["Error: inspecting object: x: image not known", "Error: No such image: x"])
def test_an_image_that_is_missing(install: Install, said: str) -> None:
    """Podman's words and Docker's; says how it comes here, and with which command."""
    engine = engine_at(install("podman", inspecting(f"echo '{said}' >&2; exit 125")))

    with pytest.raises(
        ImageMissingError, match=r"x is not on this machine\n  pull it .*kplab doctor --build"
    ) as caught:
        require_image(engine, Image("x", "lab"))
    assert (caught.value.image, caught.value.stage) == ("x", "lab")


def test_an_image_of_another_version(install: Install) -> None:
    """Both versions are named, and the way to a new one."""
    labels = '{"org.opencontainers.image.version":"0.0.1"}'
    engine = engine_at(install("podman", inspecting(f"echo '{labels}'")))

    with pytest.raises(ImageError, match=r"localhost/kplab:x holds kplab 0\.0\.1, and this is kplab .*\n.*--build"):
        require_image(engine, Image("localhost/kplab:x", "lab"))


def test_an_image_without_a_label_is_taken(install: Install) -> None:
    """A user's own; the protocol's version is compared when the agent is greeted."""
    require_image(engine_at(install("podman", inspecting("echo null"))), Image("mine", "lab"))


def test_the_user_may_name_an_image() -> None:
    """One variable a stage; else a name that is built here, with this version."""
    assert image_for("lab", {"KPLAB_IMAGE": "ghcr.io/x/kplab:1"}).ours is False
    assert image_for("lab", {}).name.startswith("localhost/kplab:")
    assert image_for("ipvs", {"KPLAB_IMAGE": "y"}).name.endswith("-ipvs")


def test_a_build_gets_the_users_options_and_the_sources(install: Install, tmp_path: Path) -> None:
    """The stage, the tag, the user's own options; what the Containerfile copies lies beside it, and goes afterwards."""
    environment = install(
        "podman",
        'case "$1" in --version) echo podman version 4;; '
        f'build) echo "$@" > {tmp_path}/asked; for last; do :; done; cd "$last"; '
        f"echo */* > {tmp_path}/seen; echo done;; esac",
    )
    environment["KPLAB_ENGINE_BUILD"] = "--network=host"
    said: list[str] = []

    make_image(engine_at(environment), Image("localhost/kplab:x", "lab"), said.append)

    asked = (tmp_path / "asked").read_text().split()
    assert [*asked[:3], asked[asked.index("--target") + 1], asked[-2]] == [
        "build",
        "--format",
        "docker",
        "lab",
        "--network=host",
    ]
    seen = (tmp_path / "seen").read_text().split()
    assert {"containers/Containerfile", "kplab/errors.py", "lessons/cluster.yaml", "requirements/run.txt"} <= set(seen)
    assert said == ["done"]
    assert not Path(asked[-1]).exists()


def test_a_build_that_fails_shows_its_last_lines(install: Install) -> None:
    """Verbatim."""
    environment = install(
        "podman", 'case "$1" in --version) echo podman version 4;; build) echo "E: no space left"; exit 1;; esac'
    )

    with pytest.raises(
        ImageError, match=r"build the image localhost/kplab:x: .*ended with status 1.*\nE: no space left"
    ):
        make_image(engine_at(environment), Image("localhost/kplab:x", "lab"), lambda line: None)


def test_an_installed_kplab_lays_out_the_same_sources(tmp_path: Path) -> None:
    """A wheel holds, inside the package, all that a checkout has beside it."""
    checkout, package = tmp_path / "checkout", tmp_path / "site/kplab"
    lay_out_source(checkout)
    package.parent.mkdir()
    (checkout / "kplab").rename(package)
    (checkout / "lessons").rename(package / "lessons")
    (checkout / "notebooks").rename(package / "notebooks")
    (checkout / "containers").rename(package / "containers")
    checkout.rename(package / "containers/source")

    lay_out_source(tmp_path / "again", package)

    names = {path.relative_to(tmp_path / "again").parts[0] for path in (tmp_path / "again").iterdir()}
    assert names == {
        "LICENSE",
        "README.md",
        "containers",
        "kplab",
        "lessons",
        "notebooks",
        "pyproject.toml",
        "requirements",
    }
    assert not (tmp_path / "again/kplab/lessons").exists()
    assert not (tmp_path / "again/containers/source").exists()
