"""What IPVS's schedulers choose, as the pods tell it: exact for rr, sticky for sh and ClientIP affinity.

The other schedulers are each set once by a KubeProxyConfiguration, and a connection of it is traced.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import yaml

from kplab.model.packet import ClientSpec
from kplab.session.base import ExecResult
from kplab.session.live import LiveSession
from kplab.trace.events import Served
from kplab.trace.journey import tell
from tests.kernel.modes.test_choices import ASK, PODS, ROUNDS, in_turn
from tests.vm.conftest import IPVS_CONFIG

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

AT_ONCE = 50
OTHERS = ["wrr", "lc", "wlc", "sed", "nq", "sh", "dh", "mh", "lblc", "fo", "ovf"]
"""Schedulers that the guest's kernel has, besides rr."""
KUBE_PROXY = """
cd /run && printf %s "$1" >scheduler.yaml && printf %s "$2" >service.yaml &&
exec {python} -m kplab.proxy.main --proxy-mode ipvs --hostname-override node-a --once --backend nft \\
  --config scheduler.yaml --manifest service.yaml
"""

SetScheduler = Callable[[str], ExecResult]


def chosen(lab: LiveSession, address: str, rounds: int, sender: str = "client") -> list[str]:
    """The pods that answered, one connection each, in order; some at a time, for a program may run for 30 s."""
    answered: list[str] = []
    while len(answered) < rounds:
        some = str(min(AT_ONCE, rounds - len(answered)))
        done = lab.execute(sender, (sys.executable, "-P", "-c", ASK, address, some))
        assert done.status == 0, done.stderr
        answered += json.loads(done.stdout)
    assert (len(answered), set(answered) <= PODS) == (rounds, True)
    return answered


@pytest.fixture(scope="module")
def set_scheduler(ipvs_lab: LiveSession) -> Iterator[SetScheduler]:
    """Return what has node-a's virtual servers written by a kube-proxy with another scheduler; rr comes back last.

    It is given the Service `web` alone, and is quick.
    """
    whole = ipvs_lab.status().manifest
    kept = [
        each
        for each in yaml.safe_load_all(whole)
        if each["kind"] in ("Node", "Pod") or each["metadata"]["name"] in ("web", "web-v4")
    ]
    script = KUBE_PROXY.format(python=sys.executable)

    def run(scheduler: str, manifest: str = yaml.safe_dump_all(kept)) -> ExecResult:
        config = IPVS_CONFIG.replace("SCHEDULER", scheduler)
        return ipvs_lab.execute("node-a", ("sh", "-c", script, "sh", config, manifest))

    yield run
    done = run("rr", whole)
    assert done.status == 0, done.stderr


def test_round_robin_takes_turns(ipvs_lab: LiveSession) -> None:
    """300 connections to three endpoints: each exactly 100, and any three in a row are three; 301: one has one more."""
    pods = chosen(ipvs_lab, "10.96.0.42", ROUNDS)
    one_more = Counter([*pods, *chosen(ipvs_lab, "10.96.0.42", 1)])

    assert in_turn(pods), Counter(pods)
    assert sorted(one_more.values()) == [100, 100, 101]


def test_clientip_affinity_keeps_the_pod(ipvs_lab: LiveSession) -> None:
    """All 300 connections of a client go to one pod."""
    assert len(set(chosen(ipvs_lab, "10.96.0.55", ROUNDS))) == 1


def test_source_hashing_is_sticky(ipvs_lab: LiveSession, set_scheduler: SetScheduler) -> None:
    """sh: all 300 connections of a client go to one pod, without any template; so do another client's."""
    done = set_scheduler("sh")
    assert done.status == 0, done.stderr

    assert len(set(chosen(ipvs_lab, "10.96.0.42", ROUNDS))) == 1
    assert len(set(chosen(ipvs_lab, "10.96.0.42", 30, "api-1"))) == 1
    connections = ipvs_lab.execute("node-a", ("ipvsadm", "-L", "-n", "-c")).stdout
    assert ":0 " not in "".join(line for line in connections.splitlines() if "10.96.0.42:80" in line)


@pytest.mark.parametrize("scheduler", OTHERS)
def test_a_scheduler_is_named_and_its_choice_is_the_pods(
    ipvs_lab: LiveSession, set_scheduler: SetScheduler, scheduler: str
) -> None:
    """Set by ipvs.scheduler of the configuration; the journey names it, and the pod that it chose answered."""
    done = set_scheduler(scheduler)
    assert done.status == 0, done.stderr
    recording = ipvs_lab.send(ClientSpec(client="curl", target="http://10.96.0.42"), "client")
    journey = tell(recording)
    (hop,) = [hop for hop in journey.hops if hop.kind == "IPVS" and hop.packet == 1]
    took = {event.what.local for event in recording.events if isinstance(event.what, Served)}

    assert (journey.complete, journey.disagreements) == (True, ())
    assert hop.ipvs is not None
    assert (hop.ipvs.scheduler, hop.evidence, {hop.ipvs.chosen}) == (scheduler, "seen", took)
    assert f"The scheduler {scheduler} chooses" in hop.text


def test_a_scheduler_that_the_kernel_lacks_is_named(set_scheduler: SetScheduler) -> None:
    """kube-proxy ends with an error that names the scheduler, and says what the kernel needs."""
    done = set_scheduler("nosuch")

    assert done.status != 0
    assert "the scheduler nosuch was refused" in done.stderr
    assert "its scheduler's" in done.stderr
