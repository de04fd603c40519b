"""What is kept in the cache for guests: the kernel unpacked, files of the host's, saved guests."""

from __future__ import annotations

import errno
import gzip
import json
import lzma
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kplab.errors import SandboxError
from kplab.session.sandbox import guest_preload
from kplab.session.sandbox.guest_cache import STAY, keep
from kplab.session.sandbox.guest_image import bootable, unpack
from kplab.session.sandbox.guest_kernel import GuestKernel
from kplab.session.sandbox.guest_preload import HostFile, host_files, nodes
from kplab.session.sandbox.microvm_saved import save, saved_path

pytestmark = pytest.mark.unit

PVH = b"\x7fELF" + b"code" + bytes.fromhex("04000000 08000000 12000000") + b"Xen\0" + bytes(8)


def test_only_the_newest_of_a_kind_stay(tmp_path: Path) -> None:
    """The cache does not grow with every change of kplab: of each kind a few stay, and other kinds are let be."""
    keep(tmp_path / "other-1", [b""])
    for number in range(STAY + 2):
        path = keep(tmp_path / f"saved-{number}", [b"a", b"b"])
        os.utime(path, (number, number))
    (tmp_path / "saved-9.partial-999999999").touch()
    keep(tmp_path / "saved-last", [b""])

    assert (tmp_path / "other-1").exists()
    assert sorted(path.name for path in tmp_path.glob("saved-*")) == ["saved-3", "saved-4", "saved-last"]


@pytest.mark.parametrize("pack", [lzma.compress, gzip.compress])
def test_a_packed_kernel_is_unpacked_once(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """What stands before the packed part is passed over; the second call takes the file that is there."""
    kernel = GuestKernel("6.1", tmp_path / "vmlinuz", tmp_path)
    kernel.image.write_bytes(b"MZ setup" + pack(PVH) + b"rest")
    path = bootable(kernel, tmp_path / "cache")

    assert path.read_bytes() == PVH
    stamp = path.stat().st_mtime_ns
    assert bootable(kernel, tmp_path / "cache").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("image", [b"zstd, which Python has not", lzma.compress(b"\x7fELF without an entry for QEMU")])
def test_a_kernel_that_cannot_be_unpacked_is_used_as_it_is(tmp_path: Path, image: bytes) -> None:
    """QEMU takes the packed image as well; it is only slower."""
    kernel = GuestKernel("6.1", tmp_path / "vmlinuz", tmp_path)
    kernel.image.write_bytes(image)

    assert unpack(image) is None
    assert bootable(kernel, tmp_path / "cache") == kernel.image


def test_links_on_the_way_to_a_file_are_kept(tmp_path: Path) -> None:
    """A file comes after the folders and links on its way, as links: the guest's paths are the host's."""
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/real.so.1").write_text("library")
    (tmp_path / "usr/lib/real.so").symlink_to("real.so.1")
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "loop").symlink_to("loop")
    made = list(nodes([HostFile(f"{tmp_path}/lib/real.so", 0, 0), HostFile(f"{tmp_path}/loop", 0, 0)]))
    told = {node.name.removeprefix(str(tmp_path)): node.data for node in made}

    assert told["/lib"] == b"usr/lib"
    assert told["/usr/lib/real.so"] == b"real.so.1"
    assert told["/usr/lib/real.so.1"] == b"library"
    names = [node.name for node in made]
    assert len(names) == len(set(names))
    assert all(os.path.dirname(name) in ("/", *names[:index]) for index, name in enumerate(names))  # noqa: PTH120


def test_the_list_is_made_anew_when_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as every file is the same the list in the cache is taken; a changed one means looking again."""
    file = tmp_path / "module.py"
    file.write_text("1")
    asked: list[str] = []

    def collect() -> list[str]:
        asked.append("once")
        return [str(file), "/nonexistent"]

    monkeypatch.setattr(guest_preload, "_collect", collect)
    cache = tmp_path / "cache"

    assert [each.path for each in host_files(cache)] == [str(file)]
    host_files(cache)
    assert len(asked) == 1
    file.write_text("12")
    assert host_files(cache)[0].size == 2
    assert len(asked) == 2


def test_a_saved_guest_is_for_one_command_and_one_kernel(tmp_path: Path) -> None:
    """Another word in QEMU's command, another QEMU or another kernel: an old one is never gone on with."""
    qemu, image = tmp_path / "qemu", tmp_path / "vmlinuz"
    qemu.write_text("7.2")
    image.write_text("6.1")
    command = [str(qemu), "-m", "1024"]
    first = saved_path(tmp_path, command, image)

    assert saved_path(tmp_path, command, image) == first
    assert saved_path(tmp_path, [*command, "-s"], image) != first
    qemu.write_text("8.2.1")
    second = saved_path(tmp_path, command, image)
    image.write_text("6.12.1")
    assert len({first, second, saved_path(tmp_path, command, image)}) == 3


def qemu_that(theirs: socket.socket, answers: dict[str, Any]) -> list[str]:
    """Speak QEMU's machine protocol in a thread; `answers` are told instead of success."""
    heard: list[str] = []

    def serve() -> None:
        with theirs, theirs.makefile("rw") as lines:
            lines.write('{"QMP": {}}\n')
            lines.flush()
            for line in lines:
                name = json.loads(line)["execute"]
                heard.append(name)
                told = {"return": {"status": "completed"}} if name == "query-migrate" else {"return": {}}
                lines.write('{"event": "STOP"}\n' + json.dumps(answers.get(name, told)) + "\n")
                lines.flush()

    threading.Thread(target=serve, daemon=True).start()
    return heard


def test_a_guest_is_saved_and_goes_on(tmp_path: Path) -> None:
    """The file gets its name when QEMU has written all of it, and the guest runs again."""
    ours, theirs = socket.socketpair()
    heard = qemu_that(theirs, {})
    with ours:
        save(ours, tmp_path / "cache/saved-1", 5.0)

    assert heard[-3:] == ["migrate", "query-migrate", "cont"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["saved-1"]


@pytest.mark.parametrize(
    ("command", "answer", "said"),
    [
        ("migrate", {"error": {"desc": "Migration is disabled when VirtFS export path '/' is mounted"}}, "VirtFS"),
        ("query-migrate", {"return": {"status": "failed"}}, "QEMU says: failed"),
    ],
)
def test_a_guest_that_cannot_be_saved(tmp_path: Path, command: str, answer: dict[str, Any], said: str) -> None:
    """What QEMU says is told, and no half file stays."""
    ours, theirs = socket.socketpair()
    qemu_that(theirs, {command: answer})
    with ours, pytest.raises(SandboxError, match=said):
        save(ours, tmp_path / "saved-1", 5.0)
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_a_saved_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is named, with the way on."""

    def full(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", full)
    ours, _ = socket.socketpair()
    with ours, pytest.raises(SandboxError, match=r"(?s)No space left on device.*XDG_CACHE_HOME"):
        save(ours, tmp_path / "saved-1", 5.0)
