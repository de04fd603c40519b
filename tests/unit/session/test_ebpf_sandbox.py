"""Whether eBPF mode can run here: each thing that may be missing has its own words and its own command."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.errors import SandboxError
from kplab.session.sandbox.ebpf import MEND, require_ebpf

pytestmark = pytest.mark.unit

ALL = (1 << 41) - 1


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return a folder with the files of a machine that has everything."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text(f"Name:\tx\nCapEff:\t{ALL:016x}\n")
    (tmp_path / "self" / "cgroup").write_text("8:pids:/x\n0::/user.slice\n")
    (tmp_path / "filesystems").write_text("nodev\tproc\nnodev\tcgroup2\nnodev\tbpf\n\text4\n")
    (tmp_path / "bpf_helpers.h").touch()
    return tmp_path


def look(machine: Path, *, uid: int = 0, without: str = "") -> None:
    """Look at the machine; `without` is a program that it lacks."""
    require_ebpf(
        lambda name: None if name == without else f"/usr/bin/{name}",
        header=machine / "bpf_helpers.h", uid=uid, proc=machine,
    )  # fmt: skip


def test_a_machine_with_everything_passes(machine: Path) -> None:
    """Nothing is raised."""
    look(machine)


def test_a_user_who_is_not_root_is_told_so(machine: Path) -> None:
    """BPF programs on socket calls cannot be loaded from a user namespace; the other modes are named."""
    with pytest.raises(SandboxError, match="it takes root") as raised:
        look(machine, uid=1000)
    assert "sudo kplab" in raised.value.hint


def test_a_root_without_the_capabilities_is_told_which(machine: Path) -> None:
    """A container's root has few of them."""
    (machine / "self" / "status").write_text("CapEff:\t00000000a80425fb\n")
    with pytest.raises(SandboxError, match="CAP_NET_ADMIN and CAP_SYS_ADMIN"):
        look(machine)


@pytest.mark.parametrize("program", ["clang", "bpftool"])
def test_a_missing_program_is_named_with_the_command(machine: Path, program: str) -> None:
    """The hint is a command to paste."""
    with pytest.raises(SandboxError, match=program) as raised:
        look(machine, without=program)
    assert raised.value.hint == MEND


def test_a_missing_header_is_named_with_the_command(machine: Path) -> None:
    """libbpf-dev brings it."""
    (machine / "bpf_helpers.h").unlink()
    with pytest.raises(SandboxError, match=r"bpf_helpers\.h") as raised:
        look(machine)
    assert raised.value.hint == MEND


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("filesystems", "nodev\tproc\nnodev\tbpf\n", "no cgroup2 file system"),
        ("filesystems", "nodev\tcgroup2\n", "no bpf file system"),
        ("self/cgroup", "8:pids:/x\n1:name=systemd:/\n", "in no cgroup v2"),
    ],
)
def test_a_kernel_without_cgroup_v2_is_named_with_what_it_takes(machine: Path, file: str, text: str, said: str) -> None:
    """Looked at before anything starts; the hint names the kernel's options."""
    (machine / file).write_text(text)
    with pytest.raises(SandboxError, match=said) as raised:
        look(machine)
    assert "CONFIG_CGROUP_BPF" in raised.value.hint
