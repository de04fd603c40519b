"""Images for the tests, built by Podman once a state of the sources, and a watch over what a test leaves.

The base image is pulled where a registry can be reached; else Debian's packages are put together to stand in.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kplab.errors import KplabError
from kplab.session.sandbox.container_engine import Engine, find_engine
from kplab.session.sandbox.container_image import Image, lay_out_source, make_image

ROOT = Path(__file__).parents[2]
NAME = "localhost/kplab-test"
SETTINGS: tuple[dict[str, str], ...] = (
    {},
    # Where cgroups are v1 and CAP_SYS_RESOURCE is missing.
    {
        "KPLAB_ENGINE": "podman --runtime runc",
        "KPLAB_ENGINE_RUN": "--ulimit nofile=1024:1024 --ulimit nproc=1000:1000",
    },
)
"""What an engine may need here; the first that runs a container is taken."""
BUILD = "--network=host --isolation=chroot --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt"
MIRROR = "http://deb.debian.org/debian"
LEFT_LIMIT = 10.0

ImageOf = Callable[[str], str]
"""Returns the name of a stage's image, built if need be."""


def podman(*argv: str, limit: float = 60.0, stdin: bytes | None = None) -> str:
    """Run Podman; return what it printed."""
    done = subprocess.run(["podman", *argv], capture_output=True, timeout=limit, check=False, input=stdin)
    assert done.returncode == 0, f"podman {' '.join(argv)}: {done.stderr.decode()}"
    return done.stdout.decode().strip()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image that the Containerfile begins with."""
    text = (ROOT / "containers/Containerfile").read_text()
    found = re.search(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert found is not None
    name = found.group(1)
    there = ["podman", "image", "exists", name]
    try:
        if subprocess.run(there, check=False).returncode == 0:
            return name
        if subprocess.run(["podman", "pull", "--quiet", name], capture_output=True, check=False).returncode == 0:
            return name
        _stand_in(name, tmp_path_factory.mktemp("base"))
    except FileNotFoundError as error:
        pytest.skip(f"{error.filename} is missing: scripts/setup dev")
    return name


def _stand_in(name: str, folder: Path) -> None:
    """Put Debian's smallest system together as the `slim` images are: without documentation, in one language."""
    if os.geteuid() != 0:
        pytest.skip(f"{name} cannot be pulled, and putting it together takes root")
    script = (
        f"debootstrap --variant=minbase bookworm {folder} {MIRROR} >&2 && cd {folder} && "
        "rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/* usr/share/doc/* usr/share/man/* usr/share/locale/* && "
        f"tar -c . | podman import - {name} && rm -rf {folder}"
    )
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="session")
def settings(base: str) -> dict[str, str]:
    """The environment variables that the engine needs on this machine."""
    if "KPLAB_ENGINE" in os.environ:
        return {name: value for name, value in os.environ.items() if name.startswith("KPLAB_ENGINE")}
    failures = []
    for each in SETTINGS:
        try:
            engine = find_engine({**os.environ, "KPLAB_ENGINE": "podman", **each})
        except KplabError as error:
            pytest.skip(str(error))
        argv = [*engine.command, "run", "--rm", "--network=none", *engine.run_options, base, "true"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return {"KPLAB_ENGINE": "podman", "KPLAB_ENGINE_BUILD": BUILD, **each}
        failures.append(done.stderr)
    pytest.skip(f"Podman runs no container here: {failures}")


@pytest.fixture(scope="session")
def engine(settings: dict[str, str]) -> Engine:
    """The engine that the tests use."""
    return find_engine({**os.environ, **settings})


@pytest.fixture(scope="session")
def image_of(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> ImageOf:
    """Return what builds a stage's image, unless there is one of these very sources."""
    source = tmp_path_factory.mktemp("source")
    lay_out_source(source / "all")
    digest = hashlib.sha256()
    for path in sorted((source / "all").rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(source)}\n".encode() + path.read_bytes())

    def image(stage: str) -> str:
        name = f"{NAME}:{stage}-{digest.hexdigest()[:12]}"
        held = podman("images", "--format", "{{.Repository}}:{{.Tag}}", NAME).split()
        if name not in held:
            make_image(engine, Image(name, stage), print)
            for old in held:
                if old.startswith(f"{NAME}:{stage}-"):
                    # Another run of the tests may still be using it: then it stays.
                    subprocess.run(["podman", "rmi", old], capture_output=True, check=False)
        return name

    return image


@pytest.fixture
def in_containers(settings: dict[str, str], image_of: ImageOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have kplab's container sandbox use this machine's settings and the image built here."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KPLAB_IMAGE", image_of("lab"))


@pytest.fixture(autouse=True)
def nothing_left(engine: Engine) -> Iterator[None]:
    """After each test the engine's containers, networks, mounts, namespaces and processes are those before it."""
    before = _there()
    yield
    until = time.monotonic() + LEFT_LIMIT
    while (left := {kind: now - before[kind] for kind, now in _there().items() if now - before[kind]}) and (
        time.monotonic() < until
    ):
        time.sleep(0.1)
    assert left == {}


def _there() -> dict[str, set[str]]:
    """What engines have standing on this machine."""
    mounts = {
        line.split()[4]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if "/containers/" in line.split()[4] or "/netns/" in line.split()[4]
    }
    return {
        "containers": set(podman("ps", "--all", "--quiet").split()),
        "networks": set(podman("network", "ls", "--quiet").split()),
        "mounts": mounts,
        "processes": set(_processes()),
        "namespaces": {name.name for name in Path("/run/netns").glob("netns-*")},
    }


def _processes() -> Iterator[str]:
    """Yield the living processes in containers, and those that watch over one."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            name = (folder / "comm").read_text().strip()
            if name == "conmon" or "libpod-" in (folder / "cgroup").read_text():
                yield f"{folder.name} {name}"
        except OSError:
            continue
