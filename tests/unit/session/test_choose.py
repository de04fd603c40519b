"""A lab gets the lightest sandbox whose kernel has what the mode needs, and is told why."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.errors import SandboxError
from kplab.session.sandbox.choose import choose, kernel_has

pytestmark = pytest.mark.unit


def everything(module: str) -> bool:
    """A kernel with every module."""
    return True


def nothing(module: str) -> bool:
    """A kernel with none."""
    return False


def test_namespaces_where_they_do() -> None:
    """A kernel without ip_vs does for iptables mode: it needs no module that kernels lack."""
    assert choose("auto", "iptables", nothing).sandbox == "namespaces"
    assert choose("auto", "ipvs", everything).sandbox == "namespaces"


def test_a_guest_where_the_kernel_lacks_something() -> None:
    """What is lacking is the reason that is told."""
    choice = choose("auto", "ipvs", lambda module: module == "dummy")

    assert choice.sandbox == "microvm"
    assert choice.why.endswith("has no ip_vs")


def test_what_is_asked_for_is_taken() -> None:
    """A guest may be asked for in any mode."""
    assert choose("microvm", "iptables", everything).sandbox == "microvm"


def test_namespaces_without_ip_vs_are_refused() -> None:
    """Asked for by name, and the kernel cannot: what it lacks, and both ways on."""
    with pytest.raises(SandboxError, match=r"(?s)has no ip_vs and no dummy.*modprobe ip_vs dummy.*--sandbox microvm"):
        choose("namespaces", "ipvs", nothing)


def test_an_unknown_sandbox_lists_those_there_are() -> None:
    """The three names."""
    with pytest.raises(SandboxError, match="auto, namespaces, microvm"):
        choose("docker", "iptables", everything)


def test_a_module_is_there_when_loaded_or_built_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/sys/module has what is loaded, modules.builtin the rest; else modprobe is asked, and here it knows none."""
    monkeypatch.setattr("kplab.session.sandbox.choose._loadable", lambda module: False)
    monkeypatch.setattr("os.uname", lambda: type("Name", (), {"release": "6.1"}))
    (tmp_path / "sys/ip_vs").mkdir(parents=True)
    (tmp_path / "modules/6.1").mkdir(parents=True)
    (tmp_path / "modules/6.1/modules.builtin").write_text("kernel/drivers/net/dummy.ko\n")
    folders = (tmp_path / "sys", tmp_path / "modules")

    assert kernel_has("ip_vs", *folders)
    assert kernel_has("dummy", *folders)
    assert not kernel_has("xt_ipvs", *folders)
