"""The images do what they are for with the capabilities that are named, and no others."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from kplab.protocol.frames import encode, user_side
from kplab.protocol.messages import Failed, Hello
from kplab.session.sandbox.container import ways
from kplab.session.sandbox.container_engine import Engine
from tests.containers.conftest import ImageOf, podman

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

MOST_BYTES = 350 * 1000 * 1000
PACKET = 'IP(dst="10.96.0.42")/TCP(dport=80, flags="S")'
AS_DOCKER = (
    "--cap-drop=ALL", "--cap-add=SYS_ADMIN", "--security-opt=no-new-privileges", "--security-opt=unmask=ALL",
)  # fmt: skip
"""Docker's way, by Podman's name for `systempaths=unconfined`: one capability that the user has not got."""

Inside = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def inside(engine: Engine, image_of: ImageOf) -> Inside:
    """Return what runs a command in a container of the `lab` image, without a network."""

    def run(options: tuple[str, ...], *argv: str, stage: str = "lab") -> subprocess.CompletedProcess[str]:
        command = (*engine.command, "run", "--rm", "--network=none", "--no-healthcheck", *options, *engine.run_options)
        return subprocess.run(
            [*command, image_of(stage), *argv], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )

    return run


def test_the_lab_image_is_small(image_of: ImageOf) -> None:
    """At most 350 MB, as the engine counts."""
    assert int(podman("image", "inspect", "--format", "{{.Size}}", image_of("lab"))) <= MOST_BYTES


def test_the_images_say_what_they_are(image_of: ImageOf) -> None:
    """A title, a version, a licence; a health check; a user that is not root."""
    config = json.loads(podman("image", "inspect", "--format", "{{json .Config}}", image_of("lab")))

    labels = {name.rpartition(".")[2] for name in config["Labels"]}
    assert {"title", "description", "version", "licenses"} <= labels
    assert config["User"] == "kplab"
    assert podman("image", "inspect", "--format", "{{json .HealthCheck}}", image_of("lab")) != "null"


def test_lesson_3_holds_inside_without_any_capability(inside: Inside, engine: Engine) -> None:
    """Its start fails, its solution passes, on a real lab: as an ordinary user, every capability dropped."""
    done = inside(ways(engine)[0].options, "kplab", "lesson", "check", "lesson-3", "--live")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_a_packet_is_traced_inside(inside: Inside, engine: Engine, mode: str) -> None:
    """Without a capability, and with those of the second way; as Docker is told, too."""
    for options in (ways(engine)[0].options, ways(engine)[1].options, AS_DOCKER):
        done = inside(options, "kplab", "trace", "--mode", mode, "--format", "json", PACKET)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["hops"]


def test_fewer_options_do_not_do(inside: Inside, engine: Engine) -> None:
    """Each option that is named is needed: without it the lab does not stand, and the message says why."""
    first, second = ways(engine)
    unmask = next(option for option in first.options if "unmask" in option)
    for options in (
        tuple(option for option in first.options if option != unmask),
        *(tuple(option for option in second.options if option != each)
          for each in second.options if each.startswith("--cap-add")),
    ):  # fmt: skip
        done = inside(options, "kplab", "trace", PACKET)
        assert done.returncode in (3, 4, 5), (options, done.stdout[-300:], done.stderr)
        assert done.stderr.startswith("kplab: ")


@pytest.mark.parametrize("options", [("--network=host",), ("--network=host", "--pid=host")])
def test_the_agent_refuses_the_hosts_namespaces(engine: Engine, image_of: ImageOf, options: tuple[str, ...]) -> None:
    """Process 1 of a container, but in the machine's own network: nothing is touched, and the reason is handed on."""
    hello = encode(Hello(id=1, boot_id="another", host_netns=0))
    argv = [*engine.command, "run", "--rm", "--interactive", "--user=0", "--no-healthcheck", "--log-driver=none",
            *options, *engine.run_options, image_of("lab"), "kplab-agent", "--stdio"]  # fmt: skip
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        assert agent.stderr is not None
        if "--pid=host" in options:
            assert b"it is not the first process of a process namespace" in agent.stderr.read()
            return
        agent.stdin.write(hello)  # and no end of the input: that would be hanging up
        agent.stdin.flush()
        (answer,) = user_side().feed(agent.stdout.read())

    assert isinstance(answer, Failed)
    assert (answer.error, answer.happened) == ("GuardError", "this is the machine's first network namespace")


def test_jupyterlab_answers_its_health_check(engine: Engine, image_of: ImageOf) -> None:
    """On loopback, in a container without a network or a capability; and a lab stands in it."""
    name = "kplab-test-jupyter"
    options = (*ways(engine)[0].options, *engine.run_options)
    start = [*engine.command, "run", "--detach", "--name", name, "--network=none", *options, image_of("jupyter")]
    subprocess.run(start, check=True, capture_output=True)
    try:
        health = ("curl", "-fsS", "--retry", "120", "--retry-connrefused", "--retry-delay", "1", "-o", "/dev/null")
        argv = [*engine.command, "exec", name]
        subprocess.run([*argv, *health, "http://127.0.0.1:8888/api"], check=True, capture_output=True)
        checked = subprocess.run([*engine.command, "healthcheck", "run", name], capture_output=True, check=False)
        assert checked.returncode == 0, checked.stdout
        code = (
            "import kplab; from scapy.layers.inet import IP, TCP\n"
            "with kplab.Lab() as lab: print(lab.send(IP(dst='10.96.0.42') / TCP(dport=80, flags='S'), from_='client'))"
        )
        done = subprocess.run([*argv, "python", "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    finally:
        podman("rm", "--force", "--time", "0", name)
