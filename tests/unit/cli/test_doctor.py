"""The doctor names what is lacking, and the command that mends it."""

from __future__ import annotations

import json

import pytest

from kplab.cli import doctor as command
from kplab.cli.report import ExitCode
from kplab.session.sandbox.check import Check, Unavailable

pytestmark = pytest.mark.unit

LACKING = Check("nft", ok=False, found="not found", mend="apt-get install nftables")


@pytest.fixture
def machine_without_nft(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the doctor look at a machine where nft is missing."""
    monkeypatch.setattr(command, "checks", lambda: (Check("Linux", ok=True, found="6.18"), LACKING))
    no_engine = Check("container: engine", ok=False, found="not found: podman and docker", mend="install Podman")
    monkeypatch.setattr(command, "container_checks", lambda: (no_engine,))
    monkeypatch.setattr(command, "can_run", lambda: Unavailable("nft: not found", LACKING.mend))


@pytest.mark.usefixtures("machine_without_nft")
def test_what_is_lacking_is_named_with_its_mend(capsys: pytest.CaptureFixture[str]) -> None:
    """The status tells a script, the lines tell a person, and the ways that remain are told as well."""
    assert command.doctor(as_json=False) == ExitCode.SANDBOX

    printed = capsys.readouterr().out
    assert "NO  nft" in printed
    assert "mend it with: apt-get install nftables" in printed
    assert "no container (--sandbox container) can be started here: not found: podman and docker" in printed
    assert "mend it with: install Podman" in printed
    assert "kplab replay FILE" in printed


@pytest.mark.usefixtures("machine_without_nft")
def test_a_container_does_where_namespaces_do_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an engine and the image a lab can be started, whatever else lacks; the ipvs image is for ipvs mode only."""
    checks = (
        Check("container: engine", ok=True, found="podman"),
        Check("container: lab image", ok=True, found="localhost/kplab:1"),
        Check("container: ipvs image", ok=False, found="not here", mend="kplab doctor --build --stage ipvs"),
    )
    monkeypatch.setattr(command, "container_checks", lambda: checks)

    assert command.doctor(as_json=False) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "a lab starts in a container here, since namespaces do not do: nft: not found" in printed
    assert "mend: kplab doctor --build --stage ipvs" in printed


@pytest.mark.usefixtures("machine_without_nft")
def test_json_is_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """One object, with every check and its mend."""
    command.doctor(as_json=True)

    document = json.loads(capsys.readouterr().out)
    assert document["sandboxes"]["namespaces"] is False
    assert {"name": "nft", "ok": False, "found": "not found", "mend": "apt-get install nftables"} in document["checks"]
