"""What a guest is made of, and what is said when it cannot be; programs stand in for QEMU."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from kplab.errors import SandboxError
from kplab.session.sandbox import microvm, microvm_accel, microvm_gated
from kplab.session.sandbox.guest_initramfs import Entry, archive, initramfs
from kplab.session.sandbox.guest_kernel import GuestKernel, find_kernel, needed_modules
from kplab.session.sandbox.microvm import Machine, Parts, Wires, find_qemu, qemu_command, start_guest, wait_booted
from kplab.session.sandbox.microvm_accel import accelerator
from kplab.session.sandbox.microvm_check import can_run_microvm, microvm_checks
from kplab.session.sandbox.microvm_gated import ENDED, start_agent_guest
from kplab.session.sandbox.namespaces import StartedAgent

pytestmark = pytest.mark.unit

DEPENDENCIES = """\
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/char/virtio_console.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/net/9p/9pnet_virtio.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/fs/9p/9p.ko:
kernel/net/netfilter/ipvs/ip_vs.ko:
kernel/drivers/net/dummy.ko:
"""
PARTS = Parts(Path("image"), Path("first"))


def put_kernel(place: Path, version: str, dependencies: str = DEPENDENCIES) -> GuestKernel:
    """Lay a kernel's files out as its package does; overlay is built in."""
    modules = place / "lib/modules" / version
    modules.mkdir(parents=True)
    (place / "boot").mkdir(exist_ok=True)
    (place / f"boot/vmlinuz-{version}").write_bytes(b"kernel")
    (modules / "modules.dep").write_text(dependencies)
    (modules / "modules.builtin").write_text("kernel/fs/overlayfs/overlay.ko\n")
    for line in dependencies.splitlines():
        path = modules / line.partition(":")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"module")
    return GuestKernel(version, place / f"boot/vmlinuz-{version}", modules)


def program(folder: Path, text: str) -> str:
    """Write a program that stands in for QEMU."""
    path = folder / "qemu"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def kernel(tmp_path: Path) -> GuestKernel:
    """A kernel on this machine, and a static busybox."""
    return put_kernel(tmp_path / "machine", "6.1.0-9-amd64")


@pytest.fixture(autouse=True)
def busybox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A busybox that is found on PATH."""
    path = tmp_path / "bin/busybox"
    path.parent.mkdir()
    path.write_bytes(b"static")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return path


def test_the_newest_kernel_of_the_machine_is_taken(tmp_path: Path) -> None:
    """Versions are compared as numbers: 6.1.0-10 is newer than 6.1.0-9."""
    put_kernel(tmp_path, "6.1.0-9-amd64")
    put_kernel(tmp_path, "6.1.0-10-amd64")

    assert find_kernel({}, tmp_path).version == "6.1.0-10-amd64"


def test_a_named_folder_goes_before_the_machine(tmp_path: Path, kernel: GuestKernel) -> None:
    """KPLAB_GUEST names the folder of an unpacked package, and nothing else is looked at."""
    put_kernel(tmp_path / "unpacked", "5.10.0-1-amd64")

    assert find_kernel({"KPLAB_GUEST": str(tmp_path / "unpacked")}, tmp_path / "machine").version == "5.10.0-1-amd64"
    with pytest.raises(SandboxError, match="KPLAB_GUEST"):
        find_kernel({"KPLAB_GUEST": str(tmp_path / "empty")}, tmp_path / "machine")


def test_a_kernel_in_the_cache_does_where_the_machines_lacks_modules(tmp_path: Path) -> None:
    """A cloud kernel without 9p on the machine is passed over; with no other it is named, and the mend."""
    put_kernel(tmp_path, "6.1.0-9-cloud", DEPENDENCIES.replace("kernel/fs/9p/9p.ko:\n", ""))
    with pytest.raises(SandboxError, match=r"(?s)6\.1\.0-9-cloud has no module 9p.*scripts/setup vm"):
        find_kernel({"XDG_CACHE_HOME": str(tmp_path / "cache")}, tmp_path)

    put_kernel(tmp_path / "cache/kplab/guest", "6.1.0-1-amd64")
    assert find_kernel({"XDG_CACHE_HOME": str(tmp_path / "cache")}, tmp_path).version == "6.1.0-1-amd64"


def test_no_kernel_says_how_to_get_one(tmp_path: Path) -> None:
    """Without any kernel both ways to one are named."""
    with pytest.raises(SandboxError, match=r"apt-get install linux-image-amd64.*scripts/setup vm"):
        find_kernel({"HOME": str(tmp_path)}, tmp_path)


def test_modules_come_after_what_they_need(kernel: GuestKernel) -> None:
    """Each module once, after all that it needs; a built-in one not at all."""
    names = [path.stem for path in needed_modules(kernel, ("virtio_pci", "virtio_console", "overlay"))]

    assert names == ["virtio_ring", "virtio", "virtio_pci", "virtio_console"]


def test_the_archive_is_what_cpio_reads() -> None:
    """Names, modes and contents are where the format has them, each part padded to four bytes."""
    made = archive([Entry("a", 0o100644, b"12345", 0x1234)])

    assert made[:6] == b"070701"
    assert made[14:22] == b"000081A4"
    assert made[46:54] == b"00001234"
    assert made[110:112] == b"a\0"
    assert made[112:117] == b"12345"
    assert len(made) % 4 == 0
    assert made.rstrip(b"\0").endswith(b"TRAILER!!!")


def test_the_first_file_system_is_made_once(tmp_path: Path, kernel: GuestKernel, busybox: Path) -> None:
    """The same contents give the same file; other contents another."""
    made = initramfs(kernel, tmp_path / "cache", str(busybox.parent))
    stamp = made.stat().st_mtime_ns

    assert b"init" in made.read_bytes()
    assert initramfs(kernel, tmp_path / "cache", str(busybox.parent)) == made
    assert made.stat().st_mtime_ns == stamp
    busybox.write_bytes(b"newer")
    assert initramfs(kernel, tmp_path / "cache", str(busybox.parent)) != made


def test_no_room_on_the_disk(
    tmp_path: Path, kernel: GuestKernel, busybox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is named with the file and the way on, and no half file stays."""

    def full(path: Path, other: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(SandboxError, match=r"(?s)No space left on device.*XDG_CACHE_HOME"):
        initramfs(kernel, tmp_path / "cache", str(busybox.parent))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_busybox_with_libraries_is_refused(tmp_path: Path, kernel: GuestKernel, busybox: Path) -> None:
    """The first file system has no libraries."""
    busybox.write_bytes(b"\x7fELF" + bytes(700) + b"/lib64/ld-linux-x86-64.so.2\0")
    with pytest.raises(SandboxError, match="apt-get install busybox-static"):
        initramfs(kernel, tmp_path / "cache", str(busybox.parent))


def test_missing_programs_name_their_packages(monkeypatch: pytest.MonkeyPatch, kernel: GuestKernel) -> None:
    """QEMU and busybox, each with its package."""
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(SandboxError, match="apt-get install qemu-system-x86"):
        find_qemu()
    with pytest.raises(SandboxError, match="apt-get install busybox-static"):
        initramfs(kernel, Path("/nonexistent"), "")


def test_the_guest_has_no_network_and_no_writable_disk(kernel: GuestKernel) -> None:
    """QEMU's own devices are off, no network device is given, and the host's tree is read-only."""
    argv = qemu_command(Machine("qemu", "tcg", kernel), PARTS, ("python", "-c", "x"), Wires(7))

    assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(argv)
    assert not [
        word for word in argv if "net" in word.replace("kplab", "") and "virtio-9p" not in word and "/" not in word
    ]
    assert "readonly=on" in argv[argv.index("-fsdev") + 1]
    assert 'KPLAB_PROGRAM="python -c x"' in argv[argv.index("-append") + 1]


def test_a_path_with_a_space_cannot_be_passed(kernel: GuestKernel) -> None:
    """The kernel's command line has no way to quote inside a value."""
    with pytest.raises(SandboxError, match="another folder"):
        qemu_command(Machine("qemu", "tcg", kernel), PARTS, ("/my programs/python",), Wires(7))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo 'no such machine' >&2; exit 1", "(?s)it ended before its program began.*no such machine"),
        ("echo 'kplab-failed: an overlay' >&2; exec sleep 60", "(?s)has not come to the guest's kernel.*an overlay"),
        ("exec sleep 60", "its console shows nothing"),
    ],
)
def test_a_guest_that_does_not_come_up(tmp_path: Path, kernel: GuestKernel, text: str, said: str) -> None:
    """One that ends, and one that hangs: the message has what its console shows."""
    guest = start_guest(Machine(program(tmp_path, text), "tcg", kernel), ("true",))
    try:
        with pytest.raises(SandboxError, match=said):
            wait_booted(guest, 0.4)
    finally:
        close(guest)
    assert guest.process.returncode is not None


@pytest.fixture
def gated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No file of the host's in memory, a cache of the test's own, and where a saved guest is looked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(microvm, "host_files", lambda cache: ())
    monkeypatch.setattr(microvm_gated, "saved_path", lambda *_: tmp_path / "saved")
    return tmp_path / "saved"


def begin(tmp_path: Path, kernel: GuestKernel, text: str) -> list[str]:
    """Start a guest with an agent, and end it; return the steps that were done."""
    steps: list[str] = []
    machine = Machine(program(tmp_path, text), "tcg", kernel)
    guest = start_agent_guest(machine, None, lambda name, done: steps.append(name) if done else None, saving=False)
    close(guest)
    return steps


def test_a_saved_guest_that_does_not_go_on_is_deleted(tmp_path: Path, kernel: GuestKernel, gated: Path) -> None:
    """QEMU refuses what was saved: a guest boots in its place."""
    gated.write_text("of another QEMU")
    text = 'case "$*" in *-incoming*) exit 1;; esac; for each in kernel agent tree; do echo kplab-reached: $each; done'
    steps = begin(tmp_path, kernel, f"{text} >&2; exec sleep 60")

    assert steps == ["guest's kernel", "agent in the guest", "host's tree in the guest"]
    assert not gated.exists()


def test_an_agent_that_lacks_a_file_gets_the_hosts_tree_first(tmp_path: Path, kernel: GuestKernel, gated: Path) -> None:
    """What an installation reads and kplab did not foresee costs time only: a guest without a gate is started."""
    gated_one = f'*KPLAB_GATE*) echo gate >>$0.runs; echo kplab-reached: kernel >&2; echo "{ENDED}" >&2; exit 0'
    whole_one = "echo none >>$0.runs; echo kplab-reached: kernel kplab-reached: tree >&2; exec sleep 60"
    steps = begin(tmp_path, kernel, f'case "$*" in {gated_one};; esac; {whole_one}')

    assert (tmp_path / "qemu.runs").read_text() == "gate\nnone\n"
    # The first one may have ended before anybody saw how far it came.
    assert list(dict.fromkeys(steps)) == ["guest's kernel", "host's tree in the guest"]


def test_a_guest_that_does_not_boot_is_not_started_twice(tmp_path: Path, kernel: GuestKernel, gated: Path) -> None:
    """A module that does not load: its name is told, with the way on."""
    with pytest.raises(SandboxError, match=r"(?s)kplab-failed: the module 9p does not load.*KPLAB_GUEST"):
        begin(tmp_path, kernel, "echo x >>$0.runs; echo 'kplab-failed: the module 9p does not load' >&2")
    assert (tmp_path / "qemu.runs").read_text() == "x\n"


def close(guest: StartedAgent) -> None:
    """Hang up, and wait until the keeper has ended."""
    assert guest.channel is not None
    guest.channel.close()
    guest.wait(5.0)


def test_kvm_is_believed_only_when_a_guest_starts(
    tmp_path: Path, kernel: GuestKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest that hangs under KVM means TCG; the answer is kept until the next boot."""
    monkeypatch.setattr(microvm_accel, "PROBE_LIMIT", 0.2)
    device = tmp_path / "kvm"
    device.touch()
    hangs = program(tmp_path, "exec sleep 60")
    assert accelerator(hangs, kernel, tmp_path, tmp_path, device) == "tcg"

    monkeypatch.setattr(microvm_accel, "PROBE_LIMIT", 10.0)
    works = program(tmp_path, "echo kplab-reached: kernel")
    assert accelerator(works, kernel, tmp_path, tmp_path, device) == "tcg"
    monkeypatch.setattr(microvm_accel, "boot_id", lambda: "the next boot")
    assert accelerator(works, kernel, tmp_path, tmp_path, device) == "kvm"
    assert accelerator(works, kernel, tmp_path, tmp_path, tmp_path / "none") == "tcg"


def test_the_doctor_names_what_a_guest_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each missing thing with the command that mends it."""
    put_kernel(tmp_path, "6.1.0-1-amd64")
    named = {"KPLAB_GUEST": str(tmp_path)}

    assert can_run_microvm(named, lambda name: f"/usr/bin/{name}") is None
    lacking = can_run_microvm(named, lambda name: None)
    assert lacking is not None
    assert (lacking.reason, lacking.mend) == ("guest: qemu-system-x86_64: not found", "apt-get install qemu-system-x86")
    assert not microvm_checks({"KPLAB_GUEST": "/nonexistent"}, lambda name: name)[-1].ok
