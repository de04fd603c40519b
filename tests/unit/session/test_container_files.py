"""What is written down about containers, in four files, is what kplab itself does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from kplab.session.sandbox.container import guest_way, ways
from kplab.session.sandbox.container_engine import Engine
from kplab.session.sandbox.container_image import IPVS, JUPYTER, LAB

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
APPARMOR = "--security-opt=apparmor=unconfined"
"""Written down apart, since it means nothing where there is no AppArmor."""


def options(kind: str, way: int) -> set[str]:
    """The options of one of kplab's own ways to run a container."""
    engine = Engine("podman", ("podman",)) if kind == "podman" else Engine("docker", ("docker",))
    return set(ways(engine)[way].options)


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        (0, 0, options("podman", 0)),
        (0, 1, options("docker", 0)),
        (1, 0, options("podman", 1) - {"--security-opt=no-new-privileges"}),
        (2, 0, set(guest_way().options)),
    ],
)
def test_the_table_of_options_is_what_kplab_gives(row: int, column: int, expected: set[str]) -> None:
    """docs/containers.md, for each engine, as the user `kplab`, as root, and for a guest."""
    text = (ROOT / "docs/containers.md").read_text().partition("## What a container needs")[2]
    cells = re.findall(r"`(--[^`]+)`", "\n".join(line for line in text.splitlines() if line.startswith("| ")))
    by_row = [cells[0:2], cells[2:3], cells[3:4]]

    assert set(by_row[row][column].split()) == expected - {APPARMOR}
    assert APPARMOR in text


def test_compose_and_the_devcontainer_give_dockers_options() -> None:
    """Both services of containers/compose.yaml, and .devcontainer/devcontainer.json: no more, no less."""
    wanted = options("docker", 0)

    services = yaml.safe_load((ROOT / "containers/compose.yaml").read_text())["services"]
    for service in services.values():
        given = {f"--cap-drop={name}" for name in service["cap_drop"]}
        given |= {f"--cap-add={name}" for name in service["cap_add"]}
        assert given | {f"--security-opt={each}" for each in service["security_opt"]} == wanted
        assert service["user"] == "kplab"
        assert not service.get("privileged")
    devcontainer = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert set(devcontainer["runArgs"]) == wanted


def test_the_containerfile_has_each_stage_and_a_base_by_version() -> None:
    """No `latest` anywhere; what kplab asks for, and the devcontainer, is there, with a health check and no root."""
    text = (ROOT / "containers/Containerfile").read_text()
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL))

    assert re.search(r"^ARG BASE=\S+:\d+\.\d+-slim$", text, re.MULTILINE)
    assert "latest" not in text
    assert {LAB, IPVS, JUPYTER, "dev"} <= set(stages)
    for stage in (LAB, IPVS, JUPYTER):
        assert re.search(r"^USER kplab$", stages[stage], re.MULTILINE)
        assert "HEALTHCHECK" in stages[stage]
        assert "org.opencontainers.image.version" in stages[stage]
