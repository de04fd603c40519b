"""`.kptrace`: a recording as one readable JSON document, so that a journey can be told again anywhere.

The first line names the format and its version; the machine's facts come next; texts (rules, the manifest) are
lists of lines, packets are hexadecimal, an event takes one line. The last line holds the number of events and a
SHA-256 of all lines before it, so that a file that was cut short or altered is told from a whole one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from kplab.errors import TraceFileError
from kplab.trace.recording import Recording

VERSION = 1
"""Rises when a file of the version before cannot be read without a fix-up; a new field with a default does not."""

MAX_BYTES = 512 * 1024 * 1024
"""A larger file is refused rather than read into memory."""

Document = dict[str, Any]

FIXUPS: dict[int, Callable[[Document], Document]] = {}
"""For each older version, what turns its document into the next version's."""

_HEAD = re.compile(r'\{"kplab-trace": (\d+),')
_NODE_LISTS = ("saves", "handles", "addresses", "routes", "conntrack_before", "conntrack_after", "recent", "lab_chains")
_AGAIN = "Record it again with `kplab trace --format kptrace -o FILE …`, or copy the file once more."


def write_trace(recording: Recording, path: Path) -> None:
    """Write the recording to `path`, whole or not at all. Raises TraceFileError when it cannot be written."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as out:
            part = Path(out.name)
            try:
                out.write(encode_trace(recording))
                out.flush()
                os.fsync(out.fileno())
                # The temporary file's own 0600 would outlive it.
                part.chmod(0o644)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise TraceFileError(
            f"{path} cannot be written", str(error), "Choose a folder that exists and that you may write to."
        ) from error


def read_trace(path: Path) -> Recording:
    """Return the recording in `path`. Raises TraceFileError: missing, cut short, corrupt, too old or too new."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TraceFileError(
                f"{path} is larger than {MAX_BYTES >> 20} MiB", hint="No trace of kplab's is so large."
            )
        data = path.read_bytes()
    except OSError as error:
        raise TraceFileError(
            f"{path} cannot be read", str(error.strerror or error), "Check the file's name."
        ) from error
    if data[:2] == b"\x1f\x8b":
        raise TraceFileError(
            f"{path} is compressed", hint=f"Run `gunzip` on it first (it may need `.gz` at its end): {path}"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TraceFileError(f"{path} is not a kplab trace", f"it is not UTF-8 text: {error}", _AGAIN) from error
    return decode_trace(text, str(path))


def encode_trace(recording: Recording) -> str:
    """Return the document's text."""
    body = "\n".join(_lines(recording))
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f'{body}\n"end": {json.dumps({"events": len(recording.events), "sha256": digest})}}}\n'


def _lines(recording: Recording) -> Iterator[str]:
    whole: Document = msgspec.to_builtins(recording, builtin_types=(bytes,))
    yield f'{{"kplab-trace": {VERSION},'
    yield f'"facts": {_dump(whole["facts"])},'
    yield f'"sender": {_dump(whole["sender"])}, "note": {_dump(whole["note"])},'
    yield f'"spec": {_dump(whole["spec"])},'
    yield from _list("manifest", _split(whole["manifest"]), end=",")
    yield f'"topology": {{"links": {_dump(whole["topology"]["links"])},'
    yield from _list("namespaces", whole["topology"]["namespaces"], end="},")
    yield '"nodes": ['
    for index, node in enumerate(whole["nodes"]):
        yield from _node(node, "," if index + 1 < len(whole["nodes"]) else "")
    yield "],"
    yield from _list("events", [_with_hex(event) for event in whole["events"]], end=",")


def _node(node: Document, end: str) -> Iterator[str]:
    yield f'{{"node": {_dump(node["node"])}, "generation": {_dump(node["generation"])},'
    told = {"node", "generation", "ipset", *_NODE_LISTS}
    for name, value in node.items():
        if name not in told and any(value):
            # What one proxy mode alone has.
            yield f'"{name}": {_dump(value)},'
    for name in _NODE_LISTS:
        if name == "saves":
            yield '"saves": ['
            for index, save in enumerate(node["saves"]):
                yield f'{{"family": {save["family"]}, "backend": {_dump(save["backend"])},'
                yield from _list(
                    "text", _split(save["text"]), end="}" + ("," if index + 1 < len(node["saves"]) else "")
                )
            yield "],"
        else:
            yield from _list(name, node[name], end=",")
    yield from _list("ipset", _split(node["ipset"]), end="}" + end)


def _list(name: str, values: list[Any], end: str) -> Iterator[str]:
    if not values:
        yield f'"{name}": []{end}'
        return
    yield f'"{name}": ['
    yield from (f"{_dump(value)}," for value in values[:-1])
    yield _dump(values[-1])
    yield f"]{end}"


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=bytes.hex)


def _split(text: str) -> list[str]:
    """Return the text's lines; joined by newlines they are the text again, a last empty one included."""
    return text.split("\n") if text else []


def _with_hex(event: Document) -> Document:
    """Leave out what is None, or a packet without bytes: an event's line is to be read by people."""
    what = {key: value for key, value in event["what"].items() if value is not None and value != b""}
    return {"n": event["n"], "stamp": event["stamp"], "node": event["node"], "what": what}


def decode_trace(text: str, name: str, *, fixups: dict[int, Callable[[Document], Document]] | None = None) -> Recording:
    """Return the recording that the text holds; `name` is the file's, for messages. Raises TraceFileError."""
    head = _HEAD.match(text)
    if head is None:
        raise TraceFileError(f"{name} is not a kplab trace", 'its first line does not say "kplab-trace"', _AGAIN)
    version = int(head.group(1))
    if version > VERSION:
        raise TraceFileError(
            f"{name} was written by a newer kplab",
            f"its format is version {version}, and this kplab reads up to {VERSION}",
            "Update kplab, for example with `pip install --upgrade kplab`.",
        )
    _check_whole(text, name)
    try:
        document = json.loads(text)
    except ValueError as error:
        raise TraceFileError(f"{name} is corrupt", str(error), _AGAIN) from error
    document = _upgrade(document, version, name, FIXUPS if fixups is None else fixups)
    try:
        return msgspec.convert(_unfold(document), Recording, builtin_types=(bytes,))
    except (msgspec.ValidationError, ValueError, KeyError, TypeError) as error:
        raise TraceFileError(f"{name} does not hold what a trace holds", str(error), _AGAIN) from error


def _check_whole(text: str, name: str) -> None:
    body, newline, last = text.rstrip("\n").rpartition("\n")
    found = re.fullmatch(r'"end": (\{.*\})\}', last)
    if not newline or found is None:
        lines = text.count("\n")
        raise TraceFileError(f"{name} is cut short", f"it ends in line {lines + 1}, without its closing line", _AGAIN)
    try:
        digest = json.loads(found.group(1))["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise TraceFileError(f"{name} is corrupt", "its closing line cannot be read", _AGAIN) from error
    if digest != hashlib.sha256(body.encode()).hexdigest():
        raise TraceFileError(f"{name} is corrupt", "its text is not what was written: the SHA-256 differs", _AGAIN)


def _upgrade(
    document: Document, version: int, name: str, fixups: dict[int, Callable[[Document], Document]]
) -> Document:
    for older in range(version, VERSION):
        if older not in fixups:
            raise TraceFileError(
                f"{name} is too old", f"its format is version {version}, and this kplab cannot read it any more", _AGAIN
            )
        document = fixups[older](document)
    return document


def _unfold(document: Document) -> Document:
    """Turn lists of lines into texts and hexadecimal into bytes again."""
    document["manifest"] = "\n".join(document["manifest"])
    for node in document["nodes"]:
        node["ipset"] = "\n".join(node["ipset"])
        for save in node["saves"]:
            save["text"] = "\n".join(save["text"])
    for event in document["events"]:
        if "packet" in event["what"]:
            event["what"]["packet"] = bytes.fromhex(event["what"]["packet"])
    document["spec"] = _with_octets(document["spec"])
    return document


def _with_octets(value: Any) -> Any:
    """Turn a packet expression's bytes literals (`Octets`) back."""
    if isinstance(value, list):
        return [_with_octets(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "bytes":
        return {**value, "data": bytes.fromhex(value["data"])}
    return {key: _with_octets(item) for key, item in value.items()}
