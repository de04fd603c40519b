"""A lab in a container: whatever the engine does, the user is told in its own words, and nothing is left."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from kplab.errors import EngineError, KplabError, ProtocolError, SandboxError
from kplab.protocol.messages import LabStatus, Progress, Status
from kplab.session.base import Step
from kplab.session.channel import Channel
from kplab.session.containers import Greet, greeted_container
from kplab.session.live import ask, greet
from kplab.session.sandbox import container
from kplab.session.sandbox.container import ROOT_CAPABILITIES, ways
from kplab.session.sandbox.container_engine import Engine

pytestmark = pytest.mark.unit

AGENT = """
import os, sys
from kplab.protocol.frames import agent_side, encode
from kplab.protocol.messages import Failed, Hello, Progress, Welcome
decoder = agent_side()
while data := os.read(0, 65536):
    for message in decoder.feed(data):
        if isinstance(message, Hello):
            if sys.argv[1] == "old":
                answer = Failed(id=message.id, error="ProtocolError", tried="begin a lab", hint="",
                                happened="the launcher speaks version 2 of the protocol, this agent 1")
                os.write(1, encode(answer))
                continue
            os.write(1, encode(Progress(id=message.id, step="guest's kernel", done=True, seconds=0.5)))
            os.write(1, encode(Welcome(id=message.id)))
        else:
            sys.exit(int(sys.argv[1]))
"""
"""Answers Hello; at the next question it ends."""


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Return what makes an engine whose `run` does what is given, and gives the environment that names it.

    Each of its calls is a line of `calls`.
    """

    def make(script: str) -> dict[str, str]:
        (tmp_path / "agent.py").write_text(AGENT)
        program = tmp_path / "podman"
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n'
            f"agent() {{ exec {sys.executable} -P {tmp_path}/agent.py $1; }}\n"
            f'case "$1" in --version) echo podman version 4;; image) echo null;; run) {script};; esac\n'
        )
        program.chmod(0o755)
        return {"KPLAB_ENGINE": str(program), "PATH": "/usr/bin:/bin"}

    return make


def started(environment: dict[str, str], greeting: Greet = greet, steps: list[str] | None = None) -> Channel:
    """Start a container, and hand its channel over; the caller closes it."""
    told: list[str] = [] if steps is None else steps

    def report(step: Step) -> None:
        if step.done:
            told.append(step.name)

    _, channel, _ = greeted_container(greeting, report, "asked for", "iptables", environment)
    return channel


def calls(folder: Path, command: str) -> list[list[str]]:
    """The arguments of each call of one of the engine's commands."""
    lines = (folder / "calls").read_text().splitlines()
    return [line.split() for line in lines if line.startswith(command)]


def test_the_protocol_goes_over_the_containers_stdio(run: Callable[[str], dict[str, str]], tmp_path: Path) -> None:
    """Hello is answered, what was told before it becomes steps, and closing ends the program."""
    steps: list[str] = []
    channel = started(run("agent 0"), steps=steps)
    channel.close()

    assert steps == ["container: asked for", "guest's kernel", "agent in a container of podman"]
    (asked,) = calls(tmp_path, "run")
    assert {"--rm", "--interactive", "--network=none", "--cap-drop=ALL", "--pull=never"} <= set(asked)


def test_a_container_that_is_killed_in_mid_question(run: Callable[[str], dict[str, str]]) -> None:
    """Whoever waits is told at once, that it was killed (137 is the engines' status for SIGKILL)."""
    channel = started(run("agent 137"))

    with pytest.raises(ProtocolError, match="its agent has gone: the container was killed"):
        ask(channel, Status(), LabStatus, 20.0)
    channel.close()


def test_an_engine_that_cannot_run_containers(run: Callable[[str], dict[str, str]]) -> None:
    """Its words, verbatim, and where the options go that this machine's engine needs."""
    said = "Error: runc: error setting rlimits for ready process: operation not permitted: OCI permission denied"

    with pytest.raises(EngineError) as caught:
        started(run(f"echo '{said}' >&2; exit 126"))
    assert said in caught.value.happened
    assert "KPLAB_ENGINE_RUN" in caught.value.hint


def test_namespaces_refused_in_both_ways(run: Callable[[str], dict[str, str]], tmp_path: Path) -> None:
    """First without any capability, then as root with four; both refusals are told."""
    said = "unshare: unshare failed: Operation not permitted"

    with pytest.raises(SandboxError) as caught:
        started(run(f"echo '{said}' >&2; exit 1"))
    assert caught.value.happened.count(said) == 2
    first, second = calls(tmp_path, "run")
    assert not [word for word in first if word.startswith("--cap-add")]
    assert [word for word in second if word.startswith("--cap-add")] == [
        f"--cap-add={each}" for each in ROOT_CAPABILITIES
    ]
    assert ("--user=0" in first, "--user=0" in second) == (False, True)


def test_an_agent_of_another_version(run: Callable[[str], dict[str, str]]) -> None:
    """The image is named, and the command that makes it anew."""
    with pytest.raises(SandboxError, match=r"(?s)holds another kplab: the launcher speaks version 2.*doctor --build"):
        started(run("agent old"))


def test_an_engine_that_hangs_leaves_nothing(
    run: Callable[[str], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer within the limit, and it does not end when hung up on: the container is removed by name."""
    monkeypatch.setattr(container, "_TEARDOWN", 0.1)
    monkeypatch.setattr(container, "_MOMENT", 0.1)
    monkeypatch.setattr("kplab.session.channel._LEAVE", 0.1)
    monkeypatch.setattr("kplab.session.containers.END_LIMIT", 0.1)

    def impatient(channel: Channel, limit: float, progress: Callable[[Progress], None]) -> None:
        greet(channel, 0.2, progress)

    with pytest.raises(EngineError, match=r"has not answered within 0\.2 s"):
        started(run("exec sleep 60"), impatient)
    (asked,) = calls(tmp_path, "run")
    assert calls(tmp_path, "rm") == [["rm", "--force", asked[asked.index("--name") + 1]]]


def test_docker_gets_its_own_options() -> None:
    """Docker's seccomp filter asks for CAP_SYS_ADMIN in the container's set, and calls the mask another name."""
    plain, root = ways(Engine("docker", ("docker",)))

    assert {"--cap-drop=ALL", "--cap-add=SYS_ADMIN", "--security-opt=systempaths=unconfined"} <= set(plain.options)
    assert "--security-opt=no-new-privileges" in plain.options
    assert plain.program[:3] == ("unshare", "--user", "--map-root-user")
    assert "--user" not in root.program


def test_a_wire_that_was_closed_is_a_broken_pipe(run: Callable[[str], dict[str, str]]) -> None:
    """Telling something after hanging up is the session's own error, never a ValueError of a closed file's."""
    channel = started(run("agent 0"))
    channel.close()

    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.raises(KplabError, match="this session is closed"))
        partial(channel.tell, Status())()
