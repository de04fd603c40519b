"""Compiling the BPF programs: what is run, what is kept, and what is said where it cannot be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from kplab.errors import ApplyError, LabError, SandboxError
from kplab.lab.ebpf import attach_balancers, load_programs, own_cgroup
from kplab.lab.ebpf_compile import MEND, compiled_object, source
from kplab.lab.netns import NetworkNamespaces
from kplab.lab.run import Expect, Finished, ScriptedRunner, SystemRunner
from kplab.model.topology import Topology

pytestmark = pytest.mark.unit


def test_a_machine_without_clang_is_told_the_exact_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names clang, and what installs all that eBPF mode needs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="clang") as raised:
        compiled_object(SystemRunner(), tmp_path, b"")
    assert raised.value.hint == MEND


class Clang(SystemRunner):
    """A clang of some version, which writes an empty object; counts how often it compiled."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.compiled = 0

    def run(
        self,
        argv: Sequence[str],
        stdin: str | bytes = "",
        *,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        limit: float = 0.0,
    ) -> Finished:
        """Answer as clang does."""
        if "-o" in argv:
            self.compiled += 1
            Path(argv[list(argv).index("-o") + 1]).touch()
        return Finished(0, self.version, "", 0.0)


def test_an_object_is_compiled_once_for_each_source_and_compiler(tmp_path: Path) -> None:
    """The same source and version again: the kept object, and no compilation; a change of either: another one."""
    clang, newer = Clang("14"), Clang("15")
    first = compiled_object(clang, tmp_path / "cache", b"a")
    assert compiled_object(clang, tmp_path / "cache", b"a") == first
    assert clang.compiled == 1
    others = {compiled_object(clang, tmp_path / "cache", b"b"), compiled_object(newer, tmp_path / "cache", b"a")}
    assert len({first, *others}) == 3
    assert (clang.compiled, newer.compiled) == (2, 1)
    assert {first, *others} == set((tmp_path / "cache").iterdir())


def test_what_the_verifier_says_is_in_the_error(tmp_path: Path) -> None:
    """Bpftool's output comes verbatim."""
    log = "libbpf: prog 'kplab_connect4': BPF program load failed: Permission denied\nR0 invalid mem access"
    folder = tmp_path / "node-a"
    argv = ("bpftool", "prog", "loadall", "/some.o", str(folder / "programs"), "pinmaps", str(folder))
    with pytest.raises(ApplyError, match="invalid mem access"):
        load_programs(ScriptedRunner([Expect(argv, status=255, stderr=log)]), Path("/some.o"), folder)


def test_the_cgroup_of_a_process_is_that_of_the_v2_hierarchy(tmp_path: Path) -> None:
    """Line 0:: of /proc/self/cgroup, under the tree's mount point."""
    listing = tmp_path / "cgroup"
    listing.write_text("8:pids:/elsewhere\n0::/user.slice/session\n")
    assert own_cgroup(Path("/run/kplab/cgroup"), listing) == Path("/run/kplab/cgroup/user.slice/session")


def test_a_process_in_no_cgroup_v2_is_named(tmp_path: Path) -> None:
    """As on a machine with cgroup v1 alone; the hint names the kernel's option."""
    listing = tmp_path / "cgroup"
    listing.write_text("8:pids:/elsewhere\n")
    with pytest.raises(LabError, match="names no cgroup v2") as raised:
        own_cgroup(Path("/run/kplab/cgroup"), listing)
    assert "CONFIG_CGROUP_BPF" in raised.value.hint


def test_a_machine_without_bpftool_is_told_the_exact_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything is mounted or compiled."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="the program bpftool is missing") as raised:
        attach_balancers(Topology((), ()), NetworkNamespaces(), ScriptedRunner([]))
    assert raised.value.hint == MEND


def test_the_source_is_shipped_with_the_package() -> None:
    """The C file lies beside the module, so a wheel holds it."""
    assert b'SEC("cgroup/connect4")' in source()
