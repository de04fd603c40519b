"""Ordinary Kubernetes YAML (or JSON) -> `Cluster`.

Several documents, `List`, `ServiceList` and the like; Services, EndpointSlices, Nodes and Pods are read,
other kinds passed over. Every error is one ManifestError: file, line, object, field, what was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from yaml.nodes import MappingNode
from yaml.nodes import Node as YamlNode

from kplab.errors import ManifestError
from kplab.model.cluster import Cluster, EndpointSlice, Node, Pod, Service
from kplab.model.manifest_machine import read_node, read_pod
from kplab.model.manifest_service import read_service
from kplab.model.manifest_slice import read_slice
from kplab.model.manifest_values import manifest_error
from kplab.model.yaml_reader import Fields, Reader, describe, split_documents

Object = Service | EndpointSlice | Node | Pod

LARGEST_FILE = 64 * 1024 * 1024
"""In bytes: about 40,000 Services. A file above this is refused before it is read."""

_READERS: dict[str, tuple[str, Callable[[Reader, YamlNode, Fields], Object]]] = {
    "Service": ("v1", read_service),
    "EndpointSlice": ("discovery.k8s.io/v1", read_slice),
    "Node": ("v1", read_node),
    "Pod": ("v1", read_pod),
}


@dataclass(frozen=True, slots=True)
class _Found:
    """An object, and its line in its document (from 0)."""

    item: Object
    line: int


@dataclass(frozen=True, slots=True)
class _Document:
    """What one document holds: the objects that are read, and how many there are of any kind."""

    found: tuple[_Found, ...]
    objects: int


Memo = dict[str, _Document]
"""What documents were read to, by their text: give the same one again, and only changed documents are read."""


def load_cluster(path: Path, memo: Memo | None = None) -> Cluster:
    """Read a manifest file; raises ManifestError."""
    return parse_cluster(read_text(path), str(path), memo)


def read_text(path: Path) -> str:
    """Read a text file of a user's; raises ManifestError when it is not there, too large, or not text."""
    tried = f"{path}: cannot be read"
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            happened = f"it has {size:,} bytes; {LARGEST_FILE:,} are the most"
            raise ManifestError(
                tried, happened, "Take out what is not a Service, EndpointSlice, Node or Pod.", file=str(path)
            )
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ManifestError(tried, error.strerror or str(error), file=str(path)) from error
    except UnicodeDecodeError as error:
        happened = f"byte {error.start} is not UTF-8 text"
        hint = "A manifest is YAML or JSON text; is this the right file?"
        raise ManifestError(tried, happened, hint, file=str(path)) from error


def parse_cluster(text: str, file: str, memo: Memo | None = None) -> Cluster:
    """Read a manifest's text; `file` is what messages call it. Raises ManifestError.

    With `memo` (an empty dict at first), documents that did not change since the last call are not read
    again; those that have gone are forgotten.
    """
    found: list[tuple[_Found, int]] = []
    kept: Memo = {}
    objects = 0
    for part, first_line in split_documents(text):
        document = memo.get(part) if memo is not None else None
        if document is None:
            document = _read_document(part, file, first_line)
        kept[part] = document
        objects += document.objects
        found += [(item, first_line) for item in document.found]
    if memo is not None:
        memo.clear()
        memo.update(kept)
    if not objects:
        hint = "Expected YAML documents, such as a Service and its EndpointSlice, with --- between them."
        raise ManifestError(f"{file}:1: there is no object in this file", "it is empty", hint, file=file, line=1)
    _check(found, file)
    return _cluster((item.item for item, _ in found), file)


def _cluster(items: Iterable[Object], file: str) -> Cluster:
    services: list[Service] = []
    slices: list[EndpointSlice] = []
    nodes: list[Node] = []
    pods: list[Pod] = []
    for item in items:
        match item:
            case Service():
                services.append(item)
            case EndpointSlice():
                slices.append(item)
            case Node():
                nodes.append(item)
            case Pod():
                pods.append(item)
            case _:
                assert_never(item)
    return Cluster(tuple(services), tuple(slices), tuple(nodes), tuple(pods), source=file)


def _read_document(text: str, file: str, first_line: int) -> _Document:
    reader = Reader(file, first_line, len(text), manifest_error(file))
    roots = reader.compose(text)
    found: list[_Found] = []
    for root in roots:
        _read_object(reader, root, None, found)
    return _Document(tuple(found), len(roots))


def _read_object(reader: Reader, root: YamlNode, inherited: str | None, found: list[_Found]) -> None:
    """Read one object, or the items of a list.

    `inherited` is None at the top, else the kind that items of this list have without saying: "Service" in a
    ServiceList, "" in a List.
    """
    reader.subject = ""
    if not isinstance(root, MappingNode):
        reader.refuse(root, "", f"expected a Kubernetes object (apiVersion, kind, metadata), found {describe(root)}")
    fields = reader.fields(root, "")
    kind = reader.text(fields["kind"], "kind") if "kind" in fields else inherited
    if not kind:
        reader.refuse(root, "kind", "this field is missing", "An object says what it is: apiVersion and kind.")
    if kind.endswith("List"):
        if inherited is not None:
            reader.refuse(root, "kind", f"expected an object, found a {kind} inside a list")
        if kind == "List" or kind.removesuffix("List") in _READERS:
            for item in reader.items(fields.get("items"), "items"):
                _read_object(reader, item, kind.removesuffix("List"), found)
        return
    if kind not in _READERS:
        return
    version, read = _READERS[kind]
    if "apiVersion" in fields:
        reader.subject = kind
        reader.choice(fields["apiVersion"], "apiVersion", (version,))
    elif not inherited:
        reader.subject = kind
        reader.refuse(root, "apiVersion", f"expected {version}, found nothing")
    found.append(_Found(read(reader, root, fields), int(root.start_mark.line)))


def _check(found: list[tuple[_Found, int]], file: str) -> None:
    """Refuse objects of the same name, and addresses and ports that two Services claim."""
    seen: dict[tuple[object, ...], tuple[str, int]] = {}
    for entry, first_line in found:
        line = first_line + entry.line + 1
        who = _who(entry.item)
        for claim, what in _claims(entry.item):
            if claim not in seen:
                seen[claim] = (who, line)
                continue
            other, where = seen[claim]
            if claim[0] == "name":
                happened = f"it is defined already, on line {where}"
            else:
                happened = f"{what} is already used by {other} (line {where})"
            field = str(claim[0])
            hint = "Each object may stand here once." if field == "name" else "Give one of the two another."
            where_text = f"{file}:{line}: {who}" + ("" if field == "name" else f": {field}")
            raise ManifestError(where_text, happened, hint, file=file, line=line, field=field)


def _who(item: Object) -> str:
    kind = type(item).__name__
    return f"{kind} {item.name}" if isinstance(item, Node) else f"{kind} {item.namespace}/{item.name}"


def _claims(item: Object) -> Iterable[tuple[tuple[object, ...], str]]:
    """What an object has to itself: (a key that starts with the field, what to call it)."""
    yield ("name", type(item), "" if isinstance(item, Node) else item.namespace, item.name), ""
    if not isinstance(item, Service):
        return
    for ip in item.cluster_ips:
        if ip != "None":
            yield ("spec.clusterIP", ip), ip
    for port in item.ports:
        if port.node_port:
            yield ("nodePort", port.node_port, port.protocol), f"{port.node_port}/{port.protocol}"
    if item.health_check_node_port:
        yield ("nodePort", item.health_check_node_port, "TCP"), f"{item.health_check_node_port}/TCP"
