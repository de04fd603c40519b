"""A lab that stands: its pods answer, its Services work, and its agent does what it is asked."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from kplab.errors import ApplyError, LabError, ManifestError, UnknownNameError, UsageError
from kplab.model.expression import parse_expression
from kplab.model.packet import ClientSpec
from kplab.model.synthetic import large_cluster, large_manifest
from kplab.session.base import LabPlan
from kplab.session.live import LiveSession, start_lab
from kplab.trace.events import ClientDone, CtChange, FrameSeen, KernelEvent, NftTrace, Sent, Served
from kplab.trace.recording import Recording

pytestmark = pytest.mark.kernel

SYN = 'IP(dst="10.96.0.42")/TCP(dport=80, flags="S")'


def send(lab: LiveSession, expression: str, sender: str = "client") -> Recording:
    """Send a packet."""
    return lab.send(parse_expression(expression), sender)


def only(recording: Recording, kind: type) -> list[KernelEvent]:
    """Return a recording's events of one kind."""
    return [event for event in recording.events if isinstance(event.what, kind)]


@pytest.mark.parametrize("pod", ["client", "client-b", "outside", "node-a", "node-b", "control-plane"])
@pytest.mark.parametrize("target", ["10.244.1.10", "10.244.2.10", "[fd00:10:244:2::10]"])
def test_pods_answer_from_everywhere(lab: LiveSession, pod: str, target: str) -> None:
    """A pod's server is reached from every place, over both IP families, and names its pod."""
    done = lab.execute(pod, ("curl", "-sS", "-g", "--max-time", "3", f"http://{target}:8080/"))

    assert done.status == 0, done.stderr
    assert re.search(r"pod: web-[13]\nnode: node-[ab]\npeer: ", done.stdout)


@pytest.mark.parametrize("url", ["http://10.96.0.42/", "http://[fd00:10:96::42]/", "http://10.96.0.1:443/"])
def test_services_work_by_kube_proxys_rules(lab: LiveSession, url: str) -> None:
    """A ClusterIP is no address of anybody's; the rules make it answer."""
    done = lab.execute("client", ("curl", "-sS", "-g", "--max-time", "3", url))

    assert done.status == 0, done.stderr
    assert done.stdout.startswith("pod: ")


def test_a_packet_is_recorded_whole(lab: LiveSession) -> None:
    """The recording holds the packet that was sent, nat's trace, the conntrack entry, and both nodes' states."""
    recording = send(lab, SYN)

    sent = only(recording, Sent)[0].what
    assert isinstance(sent, Sent)
    assert sent.error == ""
    assert sent.packet[16:20] == bytes([10, 96, 0, 42])
    assert any(isinstance(e.what, NftTrace) and e.what.chain == "KUBE-SERVICES" for e in recording.events)
    assert [node.node for node in recording.nodes] == ["node-a", "node-b"]
    assert [event.n for event in recording.events] == sorted({event.n for event in recording.events})
    new = next(e.what for e in recording.events if isinstance(e.what, CtChange) and e.node == "node-a")
    assert any(f"id={new.id}" in line for line in recording.nodes[0].conntrack_after)
    assert not any(f"id={new.id}" in line for line in recording.nodes[0].conntrack_before)


def test_every_send_has_a_port_of_its_own(lab: LiveSession) -> None:
    """Two packets of one expression are two connections."""
    ports = {only(send(lab, SYN), Sent)[0].what.packet[20:22] for _ in range(3)}  # type: ignore[union-attr]

    assert len(ports) == 3


@pytest.mark.parametrize("sender", ["client", "node-a"])
def test_the_sender_does_not_reset_what_it_began(lab: LiveSession, sender: str) -> None:
    """The SYN-ACK for a made SYN is answered by nobody: no RST reaches the pod, from a pod or from a node."""
    recording = send(lab, 'IP(dst="10.96.0.42")/TCP(sport=4321, dport=80, flags="S")', sender)

    states = [e.what.state for e in recording.events if isinstance(e.what, CtChange) and e.node == "node-a"]
    assert states[-1] == "SYN_RECV"


def test_a_students_own_rst_is_sent(lab: LiveSession) -> None:
    """Only the kernel's own RSTs are held back; one that was asked for reaches the node."""
    recording = send(lab, 'IP(dst="10.244.1.10")/TCP(dport=8080, flags="R")', "node-b")

    assert any(e.node == "node-a" and isinstance(e.what, NftTrace) for e in recording.events)


def test_what_the_kernel_refuses_is_told(lab: LiveSession) -> None:
    """A packet without a route is not an error of ours: the event carries the errno."""
    sent = only(send(lab, 'IP(dst="8.8.8.8")/UDP(dport=53)', "outside"), Sent)[0].what

    assert isinstance(sent, Sent)
    assert sent.error.startswith("ENETUNREACH")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (ClientSpec("curl", "http://10.96.0.42/"), "pod: web-"),
        (ClientSpec("curl", "http://[fd00:10:96::42]/"), "pod: web-"),
        (ClientSpec("tcp", "10.96.0.77:7", payload="over tcp\n"), "over tcp\n"),
        (ClientSpec("udp", "10.96.0.77:7", payload="over udp\n"), "over udp\n"),
    ],
    ids=["curl", "curl over IPv6", "tcp", "udp"],
)
def test_real_clients_are_followed_to_their_end(lab: LiveSession, spec: ClientSpec, said: str) -> None:
    """A client's output, its own address as its pod's server saw it, and the server's report are all there."""
    recording = lab.send(spec, "client")

    done = only(recording, ClientDone)[0].what
    assert isinstance(done, ClientDone)
    assert done.status == 0, done.stderr
    assert said in done.stdout
    served = [e.what for e in recording.events if isinstance(e.what, Served)]
    assert [each.peer for each in served] == [done.local]


def test_a_client_that_is_refused_says_so(lab: LiveSession) -> None:
    """A Service without endpoints rejects; curl ends with its own status and words."""
    done = only(lab.send(ClientSpec("curl", "http://10.96.0.66/"), "client"), ClientDone)[0].what

    assert isinstance(done, ClientDone)
    assert done.status == 7
    assert "Failed to connect" in done.stderr


def test_node_states_hold_kube_proxys_rules_and_nothing_of_ours(lab: LiveSession) -> None:
    """iptables-save shows KUBE chains; our own tables are not in it, and their chains are named."""
    state = lab.read_node("node-b")

    text = "".join(save.text for save in state.saves)
    assert ":KUBE-SERVICES - " in text
    assert "kplab" not in text
    assert "#" not in re.sub(r'"[^"]*"', "", text)
    assert {save.family for save in state.saves} == {4, 6}
    assert {"192.168.50.11", "127.0.0.1", "::1", "10.244.2.1"} <= set(state.addresses)
    assert any(line.startswith("default via 192.168.50.1") for line in state.routes)
    assert ("kplab-trace", "prerouting-first") in state.lab_chains


def test_a_rule_made_by_hand_is_seen_at_once(lab: LiveSession) -> None:
    """The kept dump is dropped when the ruleset's generation moves on."""
    before = lab.read_node("node-b")
    lab.execute("node-b", ("iptables-nft", "-A", "INPUT", "-s", "192.0.2.77", "-j", "DROP"))
    changed = lab.read_node("node-b")
    lab.execute("node-b", ("iptables-nft", "-D", "INPUT", "-s", "192.0.2.77", "-j", "DROP"))

    assert not any("192.0.2.77" in save.text for save in before.saves)
    assert any("192.0.2.77" in save.text for save in changed.saves)


def test_the_other_back_ends_rules_are_read_too(lab: LiveSession) -> None:
    """A legacy rule beside iptables-nft's is dumped as what it is."""
    lab.execute("node-b", ("iptables-legacy", "-A", "INPUT", "-s", "192.0.2.78", "-j", "DROP"))
    saves = [save for save in lab.read_node("node-b").saves if "192.0.2.78" in save.text]
    lab.execute("node-b", ("iptables-legacy", "-D", "INPUT", "-s", "192.0.2.78", "-j", "DROP"))

    assert [(save.family, save.backend) for save in saves] == [(4, "legacy")]


def test_exec_passes_input_output_and_status(lab: LiveSession) -> None:
    """A program's input goes in; its output, its errors and its status come out."""
    done = lab.execute("web-1", ("sh", "-c", "cat; echo oops >&2; exit 3"), "typed\n")

    assert (done.status, done.stdout, done.stderr) == (3, "typed\n", "oops\n")


def test_large_output_and_input_do_not_block(lab: LiveSession) -> None:
    """A program that is given and gives more than a pipe holds is served all the same."""
    done = lab.execute("web-1", ("cat",), "x" * 1_000_000)

    assert len(done.stdout) == 1_000_000


def test_a_missing_program_is_told(lab: LiveSession) -> None:
    """The status is not 0, and the error names the program."""
    done = lab.execute("client", ("no-such-program-here",))

    assert done.status != 0
    assert "no-such-program-here" in done.stderr


def test_ip_netns_works_inside(lab: LiveSession) -> None:
    """Namespaces have the names that a student types, in the lab and nowhere else."""
    listed = lab.execute("node-a", ("ip", "netns", "list")).stdout.split()

    assert {"node-a", "node-b", "client", "web-1", "outside"} <= set(listed)
    assert not any((Path("/run/netns") / name).exists() for name in listed)


def test_a_shell_is_a_terminal_of_the_namespace(lab: LiveSession) -> None:
    """A shell has a size, runs in its namespace, takes what is typed, and ends."""
    shell = lab.shell("node-a", 100, 30)
    shell.write(b"stty size; ip -br -4 addr show eth0; exit\n")
    printed = b""
    until = time.monotonic() + 10
    while not shell.ended and time.monotonic() < until:
        printed += shell.read(1.0)
    shell.close()

    assert b"30 100" in printed
    assert b"192.168.50.10/24" in printed
    assert shell.ended


def test_a_shell_can_be_closed_while_it_works(lab: LiveSession) -> None:
    """Closing ends whatever runs in it."""
    shell = lab.shell("client-b", 80, 24)
    shell.write(b"exec -a kplab-test-sleeper sleep 1000\n")
    shell.read(5.0)
    shell.close()

    until = time.monotonic() + 5
    while time.monotonic() < until:
        if "kplab-test-sleeper" not in lab.execute("client", ("sh", "-c", "cat /proc/[0-9]*/cmdline")).stdout:
            return
    pytest.fail("the shell's program lives on")


@pytest.mark.parametrize(
    ("sender", "error"), [("nobody", UnknownNameError), ("underlay", UsageError)], ids=["unknown", "the switch"]
)
def test_a_sender_that_cannot_be_is_refused(lab: LiveSession, sender: str, error: type[Exception]) -> None:
    """Names that do not exist are listed; the switch has no addresses."""
    with pytest.raises(error):
        send(lab, SYN, sender)
    with pytest.raises(UnknownNameError, match="client"):
        lab.execute("nobody", ("true",))
    with pytest.raises(LabError, match="not a node"):
        lab.read_node("client")


def test_the_agent_is_small(lab: LiveSession) -> None:
    """The agent's own memory stays below 80 MB."""
    status = lab.execute("node-a", ("cat", "/proc/1/status")).stdout

    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None
    assert int(peak.group(1)) < 80 * 1024


def test_a_dead_server_is_shown_not_restarted(plan: LabPlan) -> None:
    """SIGKILL to a pod's server: its process is shown as gone, its port refuses, the others answer."""
    lab = start_lab(plan)
    try:
        server = next(process for process in lab.status().processes if process.name == "server web-1")
        assert server.alive
        lab.execute("node-a", ("kill", "-9", str(server.pid)))

        until = time.monotonic() + 5
        alive = True
        while alive and time.monotonic() < until:
            alive = next(process for process in lab.status().processes if process.name == "server web-1").alive
        assert not alive
        assert lab.execute("client", ("curl", "-sS", "--max-time", "2", "http://10.244.1.10:8080/")).status == 7
        assert lab.execute("client", ("curl", "-sS", "--max-time", "2", "http://10.244.1.11:8080/")).status == 0
    finally:
        lab.close()


def test_a_new_manifest_is_synced_before_apply_returns(plan: LabPlan) -> None:
    """After `apply` the new address works and the old one does not; a bad manifest changes nothing."""
    lab = start_lab(plan)
    try:
        lab.apply(plan.manifest.replace("10.96.0.42", "10.96.0.43"))
        assert lab.execute("client", ("curl", "-sS", "--max-time", "2", "http://10.96.0.43/")).status == 0
        assert "10.96.0.42/32" not in "".join(save.text for save in lab.read_node("node-a").saves)

        with pytest.raises((ManifestError, ApplyError)):
            lab.apply("kind: Service")
        assert lab.execute("client", ("curl", "-sS", "--max-time", "2", "http://10.96.0.43/")).status == 0
        assert "10.96.0.43" in lab.status().manifest
    finally:
        lab.close()


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ({"manifest": "kind: Service"}, ManifestError),
        ({"mode": "bridge"}, UsageError),
        ({"config": "kind: Nonsense"}, LabError),
    ],
    ids=["manifest", "mode", "configuration"],
)
def test_a_plan_that_cannot_be_built_is_one_clear_error(
    plan: LabPlan, broken: dict[str, str], error: type[Exception]
) -> None:
    """Whatever is wrong with the plan, it is named; nothing is left standing."""
    with pytest.raises(error):
        start_lab(LabPlan(**{"manifest": plan.manifest, **broken}))  # type: ignore[arg-type]


def test_iptables_legacy_is_a_back_end_too(plan: LabPlan) -> None:
    """With iptables-legacy the Services work, and the rules are in legacy's tables only."""
    lab = start_lab(LabPlan(manifest=plan.manifest, backend="legacy"))
    try:
        assert lab.execute("client", ("curl", "-sS", "--max-time", "2", "http://10.96.0.42/")).status == 0
        assert {save.backend for save in lab.read_node("node-a").saves} == {"legacy"}
    finally:
        lab.close()


def test_a_large_cluster_stands() -> None:
    """200 Services of 6 endpoints, without Pod objects: two shared namespaces answer for all 1,200 addresses."""
    lab = start_lab(LabPlan(manifest=large_manifest(200, 6)))
    try:
        service = large_cluster(200, 6).services[150]
        url = f"http://{service.cluster_ips[0]}:{service.ports[0].port}/"
        answers = [lab.execute("client", ("curl", "-sS", "--max-time", "3", url)) for _ in range(8)]
        assert {done.status for done in answers} == {0}, [done.stderr for done in answers]
        assert all(done.stdout.startswith("pod: pods-node-") for done in answers)
        assert len(lab.topology.namespaces) == 8
    finally:
        lab.close()


def test_the_answer_to_a_made_datagram_is_not_refused(lab: LiveSession) -> None:
    """No socket waits for the echo of a made UDP packet, and yet the sender's kernel does not complain of it."""
    recording = send(lab, 'IP(dst="10.96.0.10")/UDP(dport=53)/Raw(load="who is there?")')

    protocols = [e.what.packet[9] for e in recording.events if isinstance(e.what, FrameSeen) and e.node == "client"]
    assert protocols == [17, 17]


def test_a_flushed_ruleset_is_traced_all_the_same(lab: LiveSession) -> None:
    """`nft flush ruleset` in a node takes the lab's tracing away too; the next packet finds it there again."""
    assert lab.execute("node-b", ("nft", "flush", "ruleset")).status == 0
    try:
        recording = send(lab, 'IP(dst="10.244.2.10")/TCP(dport=8080, flags="S")')
    finally:
        lab.apply(lab.status().manifest)

    assert any(isinstance(e.what, NftTrace) and e.node == "node-b" for e in recording.events)
