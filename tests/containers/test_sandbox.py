"""The sandbox `container`, from outside, with a real engine: the story is told, and however it ends nothing is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kplab.errors import ImageMissingError, ProtocolError, SandboxError
from kplab.model.expression import parse_expression
from kplab.model.synthetic import large_manifest
from kplab.session.base import LabPlan, Step
from kplab.session.live import LiveSession, start_lab
from kplab.session.own_program import own_program
from kplab.session.sandbox.container import StartedContainer
from kplab.trace.journey import tell
from tests.containers.conftest import ImageOf, podman

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600), pytest.mark.usefixtures("in_containers")]

PACKET = 'IP(dst="10.96.0.42")/TCP(dport=80, flags="S")'
LAUNCHER = """
import sys, time
from kplab.model.expression import parse_expression
from kplab.model.synthetic import large_manifest
from kplab.session.base import LabPlan
from kplab.session.live import start_lab
session = start_lab(LabPlan(manifest=open(sys.argv[1]).read(), sandbox="container"))
print(session.agent_process, flush=True)
while True:
    session.send(parse_expression(sys.argv[2]), "client")
"""


def kplab(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run kplab as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "kplab.cli.main", *argv], capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture
def lab() -> Iterator[LiveSession]:
    """A small lab in a container."""
    session = start_lab(LabPlan(manifest=large_manifest(1, 2), sandbox="container"))
    yield session
    session.close()


def container_of(session: LiveSession) -> str:
    """The name of a lab's container."""
    agent = session._agent
    assert isinstance(agent, StartedContainer)
    return agent.name


def service_address(manifest: str) -> str:
    """The ClusterIP of a manifest's first Service."""
    found = re.search(r"clusterIP: (\S+)", manifest)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_a_packet_is_traced_from_outside(mode: str) -> None:
    """The journey is the one that namespaces give, and says where it was recorded."""
    done = kplab("trace", "--sandbox", "container", "--mode", mode, "--format", "json", PACKET)

    assert done.returncode == 0, done.stderr
    assert [hop["kind"] for hop in json.loads(done.stdout)["hops"]][-1] == "delivered"


def test_a_container_is_taken_where_namespaces_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody named a sandbox, and `unshare` may not: the lab is in a container, and the first step says why."""
    refusing = tmp_path / "unshare"
    refusing.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    steps: list[str] = []

    session = start_lab(LabPlan(manifest=large_manifest(1, 1)), lambda step: steps.append(step.name))
    session.close()

    assert session.facts.sandbox == "container"
    assert "namespaces of this kernel do not do: unshare: unshare failed: Operation not permitted" in steps[0]


def test_ipvs_mode_is_traced_in_a_guest_in_the_container(monkeypatch: pytest.MonkeyPatch, image_of: ImageOf) -> None:
    """The `ipvs` image brings QEMU and a kernel: no privileges, no /dev/kvm; the guest's stages are told as steps."""
    monkeypatch.setenv("KPLAB_IMAGE_IPVS", image_of("ipvs"))
    steps: list[str] = []

    def report(step: Step) -> None:
        if step.done:
            steps.append(step.name)

    manifest = large_manifest(1, 2)
    packet = f'IP(dst="{service_address(manifest)}")/TCP(dport=80, flags="S")'
    session = start_lab(LabPlan(manifest=manifest, mode="ipvs", sandbox="container"), report)
    try:
        journey = tell(session.send(parse_expression(packet), "client"))
    finally:
        session.close()
    (chosen,) = [hop.ipvs for hop in journey.hops if hop.kind == "IPVS" and hop.ipvs and hop.ipvs.chosen]
    assert session.facts.sandbox == "microvm-tcg"
    assert chosen.virtual_server.endswith(f"{service_address(manifest)}:80")
    assert journey.hops[-1].kind == "delivered"
    assert steps.index("guest's kernel") < steps.index("agent in a container of podman, in a guest")


def test_a_shell_and_a_program_work(lab: LiveSession) -> None:
    """Everything that a face asks of a lab goes through a container's stdio too."""
    assert lab.execute("node-a", ("nft", "--version")).stdout.startswith("nftables")
    shell = lab.shell("client", 80, 24)
    shell.write(b"exit\n")
    while not shell.ended:
        shell.read(1.0)


def test_kplabs_own_programs_run_in_the_images_python(lab: LiveSession, tmp_path: Path) -> None:
    """Many connections, and the timing of a comparison: where the user's Python is not, or has no kplab."""
    address = service_address(large_manifest(1, 2))
    file = tmp_path / "found.json"

    done = lab.execute("client", own_program("kplab.lab.many", address, "80", "3"))
    compared = kplab(
        "compare", "--sandbox", "container", "--modes", "nftables", "--rounds", "3", "--format", "json", "-o",
        str(file), "http://10.96.0.42",
    )  # fmt: skip

    assert len(json.loads(done.stdout)["answers"]) == 3, done.stderr
    assert compared.returncode == 0, compared.stderr
    (column,) = json.loads(file.read_text())["columns"]
    assert (column["sandbox"].split(",")[0], column["not_timed"]) == ("container", "")


@pytest.mark.parametrize("victims", ["kplab", "kplab and the engine's client"])
def test_kplab_is_killed_in_mid_trace(tmp_path: Path, victims: str) -> None:
    """SIGKILL, to kplab alone or to the engine's client as well: the container goes (`nothing_left` looks)."""
    manifest = tmp_path / "cluster.yaml"
    manifest.write_text(large_manifest(1, 2))
    packet = f'IP(dst="{service_address(manifest.read_text())}")/TCP(dport=80, flags="S")'
    argv = [sys.executable, "-c", LAUNCHER, str(manifest), packet]
    launcher = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    with launcher, launcher.stdout:
        client = int(launcher.stdout.readline())
        assert podman("ps", "--quiet", "--filter", "label=kplab=lab")
        launcher.kill()
        if victims != "kplab":
            os.kill(client, signal.SIGKILL)


def test_the_container_is_killed(lab: LiveSession) -> None:
    """Whoever waits or asks next is told that it was; the shell that waits here shows when it is noticed."""
    shell = lab.shell("client", 80, 24)
    podman("kill", container_of(lab))
    while not shell.ended:
        shell.read(1.0)

    with pytest.raises(ProtocolError, match="agent has gone: the container was killed"):
        lab.read_node("node-a")


def test_an_image_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can be asked here, so nothing is built; the command that does is named, with status 3."""
    monkeypatch.setenv("KPLAB_IMAGE", "localhost/kplab-test:none")
    done = kplab("trace", "--sandbox", "container", PACKET)

    assert done.returncode == 3
    assert "the image localhost/kplab-test:none is not on this machine" in done.stderr
    assert "kplab doctor --build" in done.stderr
    with pytest.raises(ImageMissingError):
        start_lab(LabPlan(manifest=large_manifest(1, 1), sandbox="container"))


def test_what_the_lab_needs_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], tmp_path: Path
) -> None:
    """A seccomp filter without unshare(2): both ways fail, and the message has what each said, and what to do."""
    profile = tmp_path / "seccomp.json"
    refused = {"names": ["unshare"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]}))
    options = f"{settings.get('KPLAB_ENGINE_RUN', '')} --security-opt=seccomp={profile}"
    monkeypatch.setenv("KPLAB_ENGINE_RUN", options)

    with pytest.raises(SandboxError) as caught:
        start_lab(LabPlan(manifest=large_manifest(1, 1), sandbox="container"))
    assert caught.value.happened.count("unshare failed: Operation not permitted") == 2
    assert "docs/containers.md" in caught.value.hint


def test_root_is_the_second_way(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    """Where no user namespace can be made, root with four capabilities makes the lab, and the facts say so."""
    monkeypatch.setenv("KPLAB_ENGINE_RUN", f"{settings.get('KPLAB_ENGINE_RUN', '')} --security-opt=mask=/proc/keys")
    session = start_lab(LabPlan(manifest=large_manifest(1, 1), sandbox="container"))
    session.close()

    assert session.facts.sandbox == "container, as root"


def test_a_kept_lab_is_refused() -> None:
    """A lab in a container ends with the command that began it; what to do is said."""
    done = kplab("lab", "up", "--sandbox", "container")

    assert done.returncode == 3
    assert "keep a lab in a container" in done.stderr
