"""`.kptrace`: a recording on disk, and every way in which it can be broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from kplab.errors import TraceFileError
from kplab.model.packet import Field, Layer, Octets, PacketSpec
from kplab.trace.file import decode_trace, encode_trace, read_trace, write_trace
from kplab.trace.recording import Recording

pytestmark = pytest.mark.unit

Load = Callable[[str], Recording]


@pytest.mark.parametrize("name", ["same-node-nft", "refused-legacy", "client-nft"])
def test_what_is_read_is_what_was_written(load: Load, tmp_path: Path, name: str) -> None:
    """Nothing of a recording is lost, bytes and texts included."""
    recording = load(name)
    write_trace(recording, tmp_path / "a.kptrace")

    assert read_trace(tmp_path / "a.kptrace") == recording
    assert [path.name for path in tmp_path.iterdir()] == ["a.kptrace"]


def test_bytes_in_an_expression_survive(load: Load) -> None:
    """A payload is bytes, not text, before and after."""
    spec = PacketSpec('Raw(b"\\xff")', (Layer("Raw", (Field("load", Octets(b"\xff\0")),)),))
    recording = msgspec.structs.replace(load("same-node-nft"), spec=spec, manifest="a: 1\n\nb: é\n")

    assert decode_trace(encode_trace(recording), "t") == recording


def test_the_file_can_be_read_by_people(load: Load) -> None:
    """The version and the machine's facts come first, a rule and an event take a line each."""
    lines = encode_trace(load("same-node-nft")).splitlines()

    assert lines[0] == '{"kplab-trace": 1,'
    assert lines[1].startswith('"facts": {"kplab": ')
    assert '"-A PREROUTING -m comment --comment \\"kubernetes service portals\\" -j KUBE-SERVICES",' in lines
    assert sum(line.startswith('{"n": ') for line in lines) == len(load("same-node-nft").events)


def test_every_way_of_being_cut_short_is_noticed(load: Load) -> None:
    """A copy that ended early says so, wherever it ended."""
    text = encode_trace(load("same-node-nft"))
    for end in (len(text) // 3, len(text) // 2, len(text) - 3, text.index('"end"')):
        with pytest.raises(TraceFileError, match="cut short"):
            decode_trace(text[:end], "a.kptrace")


def test_a_changed_letter_is_noticed(load: Load) -> None:
    """The checksum covers every line."""
    text = encode_trace(load("same-node-nft")).replace("10.244.1.5", "10.244.1.6", 1)

    with pytest.raises(TraceFileError, match="corrupt"):
        decode_trace(text, "a.kptrace")


def with_checksum(body: str) -> str:
    """Close a document as `encode_trace` does."""
    import hashlib

    return f'{body}\n"end": {{"events": 0, "sha256": "{hashlib.sha256(body.encode()).hexdigest()}"}}}}\n'


@pytest.mark.parametrize("body", ['{"kplab-trace": 1,\n"facts": {},', '{"kplab-trace": 1,\n"facts": [,'])
def test_a_whole_file_with_other_contents(body: str) -> None:
    """A document that is whole but not a trace's is told by what is wrong in it."""
    with pytest.raises(TraceFileError, match=r"a trace holds|corrupt"):
        decode_trace(with_checksum(body), "a.kptrace")


def test_a_newer_file_says_what_to_do() -> None:
    """The message names both versions and the way out."""
    with pytest.raises(TraceFileError, match=re.compile("newer kplab.*version 99.*Update kplab", re.DOTALL)):
        decode_trace('{"kplab-trace": 99, "anything": 1}\n', "a.kptrace")


def test_an_older_file_is_fixed_up_or_refused(load: Load) -> None:
    """A fix-up turns a version into the next; without one the file is too old."""
    recording = load("same-node-nft")
    body = encode_trace(recording).rpartition('\n"end"')[0].replace('"kplab-trace": 1', '"kplab-trace": 0')
    older = with_checksum(body.replace('"sender":', '"from":'))

    def rename(document: dict[str, object]) -> dict[str, object]:
        document["sender"] = document.pop("from")
        return document

    assert decode_trace(older, "a.kptrace", fixups={0: rename}) == recording
    with pytest.raises(TraceFileError, match="too old"):
        decode_trace(older, "a.kptrace", fixups={})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a kplab trace"),
        (b"hello\n", "not a kplab trace"),
        (b"\x1f\x8b\x08", "gunzip"),
        (b"\xff\xfe\xff", "UTF-8"),
    ],
)
def test_what_is_no_trace_at_all(tmp_path: Path, data: bytes, message: str) -> None:
    """Empty, another format, compressed, binary."""
    path = tmp_path / "a.kptrace"
    path.write_bytes(data)

    with pytest.raises(TraceFileError, match=message):
        read_trace(path)


def test_a_missing_file_and_a_folder_that_is_not_there(load: Load, tmp_path: Path) -> None:
    """Both are one message, and nothing is left behind."""
    with pytest.raises(TraceFileError, match="cannot be read"):
        read_trace(tmp_path / "none.kptrace")
    with pytest.raises(TraceFileError, match="cannot be written"):
        write_trace(load("same-node-nft"), tmp_path / "none" / "a.kptrace")
    assert list(tmp_path.iterdir()) == []
