"""What the kernel or the machine can refuse: each has an error that names it, and says what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

# Reads what a lookup returned without asking whether there was anything: the verifier's best known refusal.
UNSAFE = r"""
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(key_size, 4);
    __uint(value_size, 4);
    __uint(max_entries, 1);
} some SEC(".maps");
SEC("cgroup/connect4")
int kplab_connect4(struct bpf_sock_addr *ctx)
{
    __u32 key = 0, *value = bpf_map_lookup_elem(&some, &key);
    return *value & 1;
}
char _license[] SEC("license") = "GPL";
"""
SAFE = UNSAFE.replace("return *value & 1", "return value ? *value & 1 : 1")
LOAD = """
import json, sys
from pathlib import Path
from kplab.errors import KplabError
from kplab.lab.ebpf import load_programs
from kplab.lab.ebpf_compile import compiled_object
from kplab.lab.run import SystemRunner
try:
    built = compiled_object(SystemRunner(), Path(sys.argv[1]), sys.stdin.buffer.read())
    load_programs(SystemRunner(), built, Path(sys.argv[2]) / "node-a")
except KplabError as error:
    print(json.dumps([type(error).__name__, error.tried, error.happened, error.hint]))
"""


def load(source: str, folder: Path, room: str = "") -> list[str]:
    """Compile and load a C source in a mount namespace with a bpffs; return the error's class and texts.

    `room` is the size of the cache's file system, if it has one of its own.
    """
    bpffs = folder / "bpffs"
    bpffs.mkdir()
    (folder / "cache").mkdir()
    small = f'mount -t tmpfs -o size={room} cache "$2" && ' if room else ""
    script = small + 'mount -t bpf bpf "$3" && exec "$0" -c "$1" "$2" "$3"'
    argv = ["unshare", "--mount", "sh", "-c", script, sys.executable, LOAD, str(folder / "cache"), str(bpffs)]
    done = subprocess.run(argv, input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.fixture(autouse=True)
def _able() -> None:
    if os.geteuid() != 0:
        pytest.skip("loading BPF programs takes root")
    missing = [name for name in ("clang", "bpftool") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"programs that are not installed: {', '.join(missing)}")


def test_a_program_that_the_verifier_refuses_is_named_with_its_log(tmp_path: Path) -> None:
    """The error holds the verifier's own words."""
    kind, tried, happened, hint = load(UNSAFE, tmp_path)
    assert (kind, tried) == ("ApplyError", "the kernel refused the BPF programs")
    assert "invalid mem access" in happened
    assert "kplab_connect4" in happened
    assert hint


def test_a_source_that_clang_refuses_is_named_with_its_message(tmp_path: Path) -> None:
    """The error holds clang's own words, and no object is left in the cache."""
    kind, tried, happened, _ = load("int broken(", tmp_path)
    assert (kind, tried) == ("SandboxError", "compile the BPF programs")
    assert "error:" in happened
    assert not list((tmp_path / "cache").iterdir())


def test_no_room_for_the_compiled_object_is_named_with_the_folder(tmp_path: Path) -> None:
    """Clang's own words, and where to make room."""
    kind, tried, happened, hint = load(SAFE, tmp_path, room="4k")
    assert (kind, tried) == ("SandboxError", "compile the BPF programs")
    assert "No space left on device" in happened
    assert f"make room in {tmp_path / 'cache'}" in hint
