"""A lab in a guest is a lab: the same agent, the same questions, the same journeys, on the guest's kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kplab.errors import SandboxError
from kplab.model.expression import parse_expression
from kplab.session.base import LabPlan, Step
from kplab.session.live import LiveSession, start_lab
from kplab.trace.journey import tell
from tests.vm.guest import ROOT

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


@dataclass
class GuestLab:
    """A lab in a guest, and the steps that building it told."""

    session: LiveSession
    steps: list[Step] = field(default_factory=list)


@pytest.fixture(scope="module")
def lab(guest_cache: Path) -> Iterator[GuestLab]:
    """The lessons' cluster, in a guest."""
    steps: list[Step] = []
    plan = LabPlan(manifest=(ROOT / "lessons/cluster.yaml").read_text(), sandbox="microvm")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(guest_cache))
        try:
            session = start_lab(plan, steps.append)
        except SandboxError as error:
            pytest.skip(str(error))
    yield GuestLab(session, steps)
    session.close()


def test_it_says_where_it_runs(lab: GuestLab) -> None:
    """The facts name the sandbox, how the processor is had, and the guest's kernel."""
    facts = lab.session.facts

    assert facts.sandbox in ("microvm-tcg", "microvm-kvm")
    assert facts.kernel != os.uname().release


def test_every_step_of_the_start_is_told(lab: GuestLab) -> None:
    """The guest's stages, booted or saved, and then the agent's, each with its end, at seconds that never go back."""
    done = [step.name for step in lab.steps if step.done]
    seconds = [step.seconds for step in lab.steps]

    assert done[0] == "microvm: asked for"
    assert {"guest's kernel", "host's tree in the guest"} <= set(done) or "saved guest" in done
    assert done.index("agent greeted") < done.index("cluster")
    assert done[-1] == "kube-proxy's rules"
    assert seconds == sorted(seconds)


def test_a_packet_is_traced(lab: GuestLab) -> None:
    """A SYN to a ClusterIP: DNAT and delivery are seen, the answer comes back, model and kernel agree."""
    recording = lab.session.send(parse_expression('IP(dst="10.96.0.42")/TCP(dport=80, flags="S")'), "client")
    journey = tell(recording)

    assert not journey.disagreements
    kinds = [hop.kind for hop in journey.hops]
    assert "DNAT" in kinds
    assert kinds[-1] == "delivered"
    assert recording.facts.kernel == lab.session.facts.kernel


def test_the_guests_kernel_has_ip_vs(lab: GuestLab) -> None:
    """A node of the lab can have a virtual server and a dummy link, which this machine's kernel may lack."""
    script = "ipvsadm -A -t 10.96.0.42:80 -s rr && ipvsadm -Ln && ip link add kube-ipvs0 type dummy"
    made = lab.session.execute("node-a", ("sh", "-c", script))

    assert made.status == 0, made.stderr
    assert "10.96.0.42:80 rr" in made.stdout


def test_a_shell_runs(lab: GuestLab) -> None:
    """A terminal in a pod of the guest's."""
    shell = lab.session.shell("client", 80, 24)
    shell.write(b"uname -r\n")
    printed = b""
    while lab.session.facts.kernel.encode() not in printed:
        data = shell.read(20.0)
        assert data, printed
        printed += data
    shell.close()
