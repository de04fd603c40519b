"""A `discovery.k8s.io/v1` EndpointSlice as YAML -> `EndpointSlice`, with the API server's defaults."""

from __future__ import annotations

from typing import Literal, cast

from yaml.nodes import Node

from kplab.model.cluster import Endpoint, EndpointPort, EndpointSlice
from kplab.model.manifest_values import (
    LABEL,
    SUBDOMAIN,
    Metadata,
    optional_boolean,
    optional_text,
    port,
    protocol,
    reachable_address,
)
from kplab.model.yaml_reader import Fields, Reader

TOP = ("addressType", "apiVersion", "endpoints", "kind", "metadata", "ports")
ENDPOINT = frozenset(
    ("addresses", "conditions", "deprecatedTopology", "hints", "hostname", "nodeName", "targetRef", "zone")
)
CONDITIONS = frozenset(("ready", "serving", "terminating"))
PORT = ("appProtocol", "name", "port", "protocol")
TYPES = ("IPv4", "IPv6", "FQDN")
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MOST_ADDRESSES = 100
MOST_ENDPOINTS = 1000
"""The API server's limits of one slice."""

AddressType = Literal["IPv4", "IPv6", "FQDN"]


def read_slice(reader: Reader, root: Node, fields: Fields) -> EndpointSlice:
    """Return an EndpointSlice; raises ManifestError."""
    meta = Metadata(reader, root, fields, "EndpointSlice", SUBDOMAIN)
    reader.fields(root, "", TOP)
    if "addressType" not in fields:
        reader.refuse(root, "addressType", "expected IPv4, IPv6 or FQDN, found nothing")
    kind = cast("AddressType", reader.choice(fields["addressType"], "addressType", TYPES))
    nodes = reader.items(fields.get("endpoints"), "endpoints")
    if len(nodes) > MOST_ENDPOINTS:
        hint = "Put the others into a second slice with the same label."
        reader.refuse(fields["endpoints"], "endpoints", f"expected {MOST_ENDPOINTS} at most, found {len(nodes)}", hint)
    return EndpointSlice(
        namespace=meta.namespace,
        name=meta.name,
        service_name=dict(meta.labels).get(SERVICE_NAME_LABEL),
        address_type=kind,
        ports=_ports(reader, fields),
        endpoints=tuple([_endpoint(reader, node, f"endpoints[{i}]", kind) for i, node in enumerate(nodes)]),
        labels=meta.labels,
    )


def _ports(reader: Reader, fields: Fields) -> tuple[EndpointPort, ...]:
    """Return the slice's ports. The API server's default for a name is "", for a protocol TCP."""
    found: list[EndpointPort] = []
    for i, node in enumerate(reader.items(fields.get("ports"), "ports")):
        path = f"ports[{i}]"
        entry = reader.fields(node, path, PORT)
        name = optional_text(reader, entry, "name", path) or ""
        if name:
            reader.matching(entry["name"], f"{path}.name", LABEL, 'a name of lower-case letters, digits and "-"')
        if any(other.name == name for other in found):
            reader.refuse(node, f"{path}.name", f"expected a name of its own, found {name!r} again")
        number = port(reader, entry["port"], f"{path}.port") if "port" in entry else None
        found.append(EndpointPort(port=number, protocol=protocol(reader, entry, path), name=name))
    return tuple(found)


def _endpoint(reader: Reader, node: Node, path: str, kind: AddressType) -> Endpoint:
    fields = reader.fields(node, path, ENDPOINT)
    conditions: Fields = {}
    where = f"{path}.conditions"
    if "conditions" in fields:
        conditions = reader.fields(fields["conditions"], where, CONDITIONS)
    hints = reader.fields(fields["hints"], f"{path}.hints", ("forNodes", "forZones")) if "hints" in fields else {}
    return Endpoint(
        addresses=_addresses(reader, node, fields, path, kind),
        node_name=optional_text(reader, fields, "nodeName", path),
        zone=optional_text(reader, fields, "zone", path),
        ready=optional_boolean(reader, conditions, "ready", where),
        serving=optional_boolean(reader, conditions, "serving", where),
        terminating=optional_boolean(reader, conditions, "terminating", where),
        hint_zones=_names(reader, hints, "forZones", f"{path}.hints") if hints else (),
        hint_nodes=_names(reader, hints, "forNodes", f"{path}.hints") if hints else (),
        target_pod=_target(reader, fields["targetRef"], f"{path}.targetRef") if "targetRef" in fields else None,
    )


def _addresses(reader: Reader, node: Node, fields: Fields, path: str, kind: AddressType) -> tuple[str, ...]:
    where = f"{path}.addresses"
    nodes = reader.items(fields.get("addresses"), where)
    if not 1 <= len(nodes) <= MOST_ADDRESSES:
        reader.refuse(node, where, f"expected 1 to {MOST_ADDRESSES} addresses, found {len(nodes)}")
    found = []
    for i, item in enumerate(nodes):
        if kind == "FQDN":
            found.append(reader.matching(item, f"{where}[{i}]", SUBDOMAIN, "a domain name (addressType is FQDN)"))
            continue
        value = reachable_address(reader, item, f"{where}[{i}]")
        if (":" in value) != (kind == "IPv6"):
            reader.expected(item, f"{where}[{i}]", f"an {kind} address, which is the slice's addressType")
        found.append(value)
    return tuple(found)


def _names(reader: Reader, hints: Fields, field: str, path: str) -> tuple[str, ...]:
    where = f"{path}.{field}"
    found = []
    for i, node in enumerate(reader.items(hints.get(field), where)):
        entry = reader.fields(node, f"{where}[{i}]", ("name",))
        if "name" not in entry:
            reader.refuse(node, f"{where}[{i}].name", "this field is missing")
        found.append(reader.text(entry["name"], f"{where}[{i}].name"))
    return tuple(found)


def _target(reader: Reader, node: Node, path: str) -> str | None:
    """Return `namespace/name` of a Pod that an endpoint stands for."""
    fields = reader.fields(node, path)
    if optional_text(reader, fields, "kind", path) != "Pod":
        return None
    namespace = optional_text(reader, fields, "namespace", path) or "default"
    name = optional_text(reader, fields, "name", path)
    return f"{namespace}/{name}" if name else None
