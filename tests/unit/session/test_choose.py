"""A lab gets the lightest sandbox whose kernel has what the mode needs, and is told why."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.errors import NamespacesError, SandboxError
from kplab.session import live
from kplab.session.base import LabPlan
from kplab.session.sandbox.check import explain
from kplab.session.sandbox.choose import Here, choose, instead, kernel_has

pytestmark = pytest.mark.unit


def everything(module: str) -> bool:
    """A kernel with every module."""
    return True


def nothing(module: str) -> bool:
    """A kernel with none."""
    return False


def machine(platform: str = "linux", *, programs: str = "", guest: str = "", engine: str = "") -> Here:
    """A machine that lacks what is named; "" is nothing."""
    return Here(platform, lambda: programs, lambda: guest, lambda: engine)


def test_namespaces_where_they_do() -> None:
    """A kernel without ip_vs does for iptables mode: it needs no module that kernels lack."""
    assert choose("auto", "iptables", nothing, machine()).sandbox == "namespaces"
    assert choose("auto", "ipvs", everything, machine()).sandbox == "namespaces"


def test_a_guest_where_the_kernel_lacks_something() -> None:
    """What is lacking is the reason that is told."""
    choice = choose("auto", "ipvs", lambda module: module == "dummy", machine())

    assert choice.sandbox == "microvm"
    assert choice.why.endswith("has no ip_vs")


def test_what_is_asked_for_is_taken() -> None:
    """A guest may be asked for in any mode."""
    assert choose("microvm", "iptables", everything).sandbox == "microvm"


def test_namespaces_without_ip_vs_are_refused() -> None:
    """Asked for by name, and the kernel cannot: what it lacks, and both ways on."""
    with pytest.raises(SandboxError, match=r"(?s)has no ip_vs and no dummy.*modprobe ip_vs dummy.*--sandbox microvm"):
        choose("namespaces", "ipvs", nothing)


def test_another_system_gets_a_container() -> None:
    """A Mac and Windows have no namespaces: left to us it is a container, and by name nothing else is taken."""
    mac = machine("darwin")

    assert choose("auto", "iptables", everything, mac).sandbox == "container"
    assert choose("auto", "ipvs", everything, mac).sandbox == "container"
    for wanted in ("namespaces", "microvm"):
        with pytest.raises(SandboxError, match="this is darwin, and it needs Linux\n  --sandbox container"):
            choose(wanted, "iptables", everything, mac)


def test_a_container_where_programs_are_missing_and_an_engine_is_there() -> None:
    """Without an engine it stays with namespaces, whose own message then says what to install."""
    assert choose("auto", "iptables", everything, machine(programs="nft")).why == "not installed here: nft"
    assert choose("auto", "iptables", everything, machine(programs="nft", engine="none")).sandbox == "namespaces"


def test_a_container_where_no_guest_can_be_started() -> None:
    """IPVS mode: a guest of this machine's own goes first, then one in a container."""
    assert choose("auto", "ipvs", nothing, machine(guest="no QEMU")).sandbox == "container"
    assert choose("auto", "ipvs", nothing, machine(guest="no QEMU", engine="none")).sandbox == "microvm"


def test_a_container_where_namespaces_were_refused() -> None:
    """Only if nobody asked for namespaces, an engine is there, and the mode works in a container."""
    refused = SandboxError("start a lab", "unshare failed: Operation not permitted")

    choice = instead("auto", "nftables", refused, machine())
    assert (choice.sandbox, "Operation not permitted" in choice.why) == ("container", True)
    for wanted, mode, here in (
        ("namespaces", "nftables", machine()),
        ("auto", "ebpf", machine()),
        ("auto", "nftables", machine(engine="none")),
    ):
        with pytest.raises(SandboxError, match="Operation not permitted"):
            instead(wanted, mode, refused, here)


def test_ebpf_mode_is_refused_in_a_container() -> None:
    """The image has no compiler, and the container no root: said before anything is started."""
    with pytest.raises(SandboxError, match="sudo kplab"):
        choose("container", "ebpf", everything, machine())


def test_an_unknown_sandbox_lists_those_there_are() -> None:
    """The four names."""
    with pytest.raises(SandboxError, match="auto, namespaces, microvm, container"):
        choose("docker", "iptables", everything)


def test_a_module_is_there_when_loaded_or_built_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/sys/module has what is loaded, modules.builtin the rest; else modprobe is asked, and here it knows none."""
    monkeypatch.setattr("kplab.session.sandbox.choose._loadable", lambda module: False)
    monkeypatch.setattr("platform.release", lambda: "6.1")
    (tmp_path / "sys/ip_vs").mkdir(parents=True)
    (tmp_path / "modules/6.1").mkdir(parents=True)
    (tmp_path / "modules/6.1/modules.builtin").write_text("kernel/drivers/net/dummy.ko\n")
    folders = (tmp_path / "sys", tmp_path / "modules")

    assert kernel_has("ip_vs", *folders)
    assert kernel_has("dummy", *folders)
    assert not kernel_has("xt_ipvs", *folders)


def test_an_agent_that_ended_is_not_started_again_in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was no refusal of the kernel's: the error is told as it is, and no engine is looked for."""

    def ended(mode: str) -> None:
        raise explain(["killed by signal 9"])

    monkeypatch.setattr(live, "_greeted_agent", ended)
    monkeypatch.setattr(live, "instead", lambda *_: pytest.fail("an engine was looked for"))
    with pytest.raises(SandboxError, match="killed by signal 9") as caught:
        live.start_lab(LabPlan(manifest=""))

    assert not isinstance(caught.value, NamespacesError)
    assert isinstance(explain(["unshare: Operation not permitted"], refused=True), NamespacesError)
