"""The kinds of value that Kubernetes objects are made of: names, addresses, ports, labels, metadata."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import cast

from yaml.nodes import Node

from kplab.errors import ManifestError
from kplab.model.cluster import Protocol
from kplab.model.yaml_reader import ErrorOf, Fields, Reader

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""A DNS label (RFC 1123): namespaces, names of ports."""
SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""A DNS label as RFC 1035 has it, which is what a Service's name must be."""
SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""DNS labels with dots between: names of nodes, pods and slices."""
PROTOCOLS = ("TCP", "UDP", "SCTP")

_SPECIAL = "an endpoint's address cannot be loopback, link-local, multicast or unspecified"


def manifest_error(file: str) -> ErrorOf:
    """Return what makes the errors of a manifest's reader."""

    def make(where: str, happened: str, hint: str, line: int, path: str) -> ManifestError:
        return ManifestError(where, happened, hint, file=file, line=line, field=path)

    return make


def port(reader: Reader, node: Node, path: str) -> int:
    """Return a port's number."""
    return reader.integer(node, path, 1, 65535)


def protocol(reader: Reader, fields: Fields, path: str) -> Protocol:
    """Return the field `protocol`; TCP is the default."""
    node = fields.get("protocol")
    return "TCP" if node is None else cast("Protocol", reader.choice(node, f"{path}.protocol", PROTOCOLS))


def optional_text(reader: Reader, fields: Fields, name: str, path: str) -> str | None:
    """Return a string field, or None where it is not given."""
    node = fields.get(name)
    return None if node is None else reader.text(node, f"{path}.{name}")


def optional_boolean(reader: Reader, fields: Fields, name: str, path: str) -> bool | None:
    """Return a boolean field, or None where it is not given."""
    node = fields.get(name)
    return None if node is None else reader.boolean(node, f"{path}.{name}")


def address(reader: Reader, node: Node, path: str) -> str:
    """Return an IPv4 or IPv6 address in canonical text."""
    value = reader.text(node, path)
    canonical = canonical_address(value)
    if canonical is None:
        reader.expected(node, path, "an IPv4 or IPv6 address")
    return canonical


def reachable_address(reader: Reader, node: Node, path: str) -> str:
    """Return an address that traffic may be sent to: the API server refuses loopback and the like there."""
    value = address(reader, node, path)
    if _is_special(value):
        reader.refuse(node, path, f"{value} cannot be used here", f"Of {value}: {_SPECIAL}.")
    return value


def cidr(reader: Reader, node: Node, path: str) -> str:
    """Return a network in canonical text, as Go's net.IPNet prints it: host bits cleared."""
    value = canonical_cidr(reader.text(node, path).strip())
    if value is None:
        reader.expected(node, path, 'a CIDR, such as "192.168.50.0/24"')
    return value


@lru_cache(maxsize=65536)
def canonical_address(value: str) -> str | None:
    """Return an address in canonical text, or None when it is not one that the API server takes."""
    try:
        found = ip_address(value)
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and (found.scope_id or found.ipv4_mapped):
        return None
    return str(found)


def canonical_cidr(value: str) -> str | None:
    """Return a network in canonical text, or None; a prefix length must be given, as a number."""
    if not re.fullmatch(r"[0-9a-fA-F:.]+/[0-9]{1,3}", value):
        return None
    try:
        return str(ip_network(value, strict=False))
    except ValueError:
        return None


@lru_cache(maxsize=65536)
def _is_special(value: str) -> bool:
    found: IPv4Address | IPv6Address = ip_address(value)
    return found.is_loopback or found.is_unspecified or found.is_link_local or found.is_multicast


def labels(reader: Reader, node: Node | None, path: str) -> tuple[tuple[str, str], ...]:
    """Return labels (or a selector) in the order given."""
    if node is None:
        return ()
    return tuple((name, reader.text(value, f"{path}.{name}")) for name, value in reader.fields(node, path).items())


class Metadata:
    """The parts of `metadata` that matter here; it sets the reader's subject as soon as the name is known."""

    __slots__ = ("labels", "name", "namespace")

    def __init__(self, reader: Reader, root: Node, fields: Fields, kind: str, pattern: re.Pattern[str]) -> None:
        reader.subject = kind
        node = fields.get("metadata")
        if node is None:
            reader.refuse(root, "metadata", "this field is missing", "An object needs at least metadata.name.")
        found = reader.fields(node, "metadata")
        if "name" not in found:
            reader.refuse(node, "metadata.name", "this field is missing", "Every object needs a name.")
        what = 'a name of lower-case letters, digits and "-"'
        self.name = reader.matching(found["name"], "metadata.name", pattern, what)
        self.namespace = "default"
        if "namespace" in found:
            self.namespace = reader.matching(found["namespace"], "metadata.namespace", LABEL, what)
        reader.subject = f"{kind} {self.name}" if kind == "Node" else f"{kind} {self.namespace}/{self.name}"
        self.labels = labels(reader, found.get("labels"), "metadata.labels")
