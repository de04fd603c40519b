"""A `v1` Service as YAML -> `Service`, with the API server's defaults and the parts of its validation that matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from yaml.nodes import Node, ScalarNode

from kplab.model.cluster import LoadBalancerIngress, Protocol, Service, ServicePort
from kplab.model.manifest_values import (
    LABEL,
    SERVICE_NAME,
    Metadata,
    address,
    cidr,
    labels,
    optional_boolean,
    optional_text,
    port,
    protocol,
    reachable_address,
)
from kplab.model.yaml_reader import Fields, Reader

TOP = ("apiVersion", "kind", "metadata", "spec", "status")
SPEC = (
    "allocateLoadBalancerNodePorts", "clusterIP", "clusterIPs", "externalIPs", "externalName",
    "externalTrafficPolicy", "healthCheckNodePort", "internalTrafficPolicy", "ipFamilies", "ipFamilyPolicy",
    "loadBalancerClass", "loadBalancerIP", "loadBalancerSourceRanges", "ports", "publishNotReadyAddresses",
    "selector", "sessionAffinity", "sessionAffinityConfig", "trafficDistribution", "type",
)  # fmt: skip
PORT = ("appProtocol", "name", "nodePort", "port", "protocol", "targetPort")
TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
POLICIES = ("Cluster", "Local")
NODE_PORTS = (30000, 32767)
"""The API server's default `--service-node-port-range`."""
LONGEST_AFFINITY = 86400

ServiceType = Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]
Policy = Literal["Cluster", "Local"]

_NO_API_SERVER = "There is no API server here to choose one, so the manifest must say it."


def read_service(reader: Reader, root: Node, fields: Fields) -> Service:
    """Return a Service; raises ManifestError."""
    meta = Metadata(reader, root, fields, "Service", SERVICE_NAME)
    reader.fields(root, "", TOP)
    if "spec" not in fields:
        reader.refuse(root, "spec", "this field is missing", "A Service needs at least spec.ports and spec.clusterIP.")
    spec = reader.fields(fields["spec"], "spec", SPEC)
    kind = cast("ServiceType", _choice(reader, spec, "type", TYPES, "ClusterIP"))
    cluster_ips = _cluster_ips(reader, fields["spec"], spec, kind)
    ports = _ports(reader, fields["spec"], spec, kind, headless=cluster_ips == ("None",))
    affinity, seconds = _affinity(reader, spec)
    low, high = NODE_PORTS
    health = spec.get("healthCheckNodePort")
    return Service(
        namespace=meta.namespace,
        name=meta.name,
        type=kind,
        cluster_ips=cluster_ips,
        ports=ports,
        external_ips=tuple(
            reachable_address(reader, node, f"spec.externalIPs[{i}]")
            for i, node in enumerate(reader.items(spec.get("externalIPs"), "spec.externalIPs"))
        ),
        load_balancer_ingress=_ingress(reader, fields),
        load_balancer_source_ranges=tuple(
            cidr(reader, node, f"spec.loadBalancerSourceRanges[{i}]")
            for i, node in enumerate(
                reader.items(spec.get("loadBalancerSourceRanges"), "spec.loadBalancerSourceRanges")
            )
        ),
        external_traffic_policy=cast("Policy", _choice(reader, spec, "externalTrafficPolicy", POLICIES, "Cluster")),
        internal_traffic_policy=cast("Policy", _choice(reader, spec, "internalTrafficPolicy", POLICIES, "Cluster")),
        session_affinity=affinity,
        session_affinity_timeout_seconds=seconds,
        health_check_node_port=_node_port(reader, health, "spec.healthCheckNodePort", low, high) if health else None,
        external_name=optional_text(reader, spec, "externalName", "spec"),
        selector=labels(reader, spec.get("selector"), "spec.selector"),
        labels=meta.labels,
    )


def _choice(reader: Reader, spec: Fields, name: str, options: Sequence[str], default: str) -> str:
    node = spec.get(name)
    return default if node is None else reader.choice(node, f"spec.{name}", options)


def _cluster_ips(reader: Reader, node: Node, spec: Fields, kind: ServiceType) -> tuple[str, ...]:
    """Return clusterIPs, or clusterIP alone; the two must agree, and hold one address of each family at most."""
    if kind == "ExternalName":
        return ()
    first = _cluster_ip(reader, spec["clusterIP"], "spec.clusterIP") if "clusterIP" in spec else None
    given = reader.items(spec.get("clusterIPs"), "spec.clusterIPs")
    listed = tuple(_cluster_ip(reader, item, f"spec.clusterIPs[{i}]") for i, item in enumerate(given))
    if not first and not listed:
        hint = f"{_NO_API_SERVER} Add an address such as 10.96.0.10, or None for a headless Service."
        reader.refuse(node, "spec.clusterIP", "this field is missing", hint)
    if first and listed and first != listed[0]:
        happened = f"{listed[0]} is not spec.clusterIP, which is {first}"
        reader.refuse(given[0], "spec.clusterIPs[0]", happened, "The two must be the same.")
    chosen = listed or (cast("str", first),)
    families = ["None" if ip == "None" else ":" in ip for ip in chosen]
    if len(set(families)) < len(families) or ("None" in families and len(families) > 1):
        happened = f"expected one address of each family at most, or None alone, found {', '.join(chosen)}"
        reader.refuse(spec["clusterIPs"], "spec.clusterIPs", happened)
    return chosen


def _cluster_ip(reader: Reader, node: Node, path: str) -> str:
    if isinstance(node, ScalarNode) and node.value in ("None", ""):
        return str(node.value)
    return reachable_address(reader, node, path)


def _ports(reader: Reader, node: Node, spec: Fields, kind: ServiceType, *, headless: bool) -> tuple[ServicePort, ...]:
    nodes = reader.items(spec.get("ports"), "spec.ports")
    if not nodes and not headless and kind != "ExternalName":
        reader.refuse(node, "spec.ports", "expected at least one port, found none")
    allocate = optional_boolean(reader, spec, "allocateLoadBalancerNodePorts", "spec")
    needs = kind == "NodePort" or (kind == "LoadBalancer" and allocate is not False)
    ports: list[ServicePort] = []
    names: set[str] = set()
    taken: set[tuple[int, Protocol]] = set()
    for i, item in enumerate(nodes):
        path = f"spec.ports[{i}]"
        found = _port(reader, item, path, needs_node_port=needs, allowed=kind in ("NodePort", "LoadBalancer"))
        if not found.name and len(nodes) > 1:
            reader.refuse(
                item, f"{path}.name", "this field is missing", "Where there are several ports, each needs a name."
            )
        if found.name in names:
            reader.refuse(item, f"{path}.name", f"expected a name of its own, found {found.name!r} again")
        if (found.port, found.protocol) in taken:
            reader.refuse(item, f"{path}.port", f"{found.port}/{found.protocol} is already a port of this Service")
        names.add(found.name)
        taken.add((found.port, found.protocol))
        ports.append(found)
    return tuple(ports)


def _port(reader: Reader, node: Node, path: str, *, needs_node_port: bool, allowed: bool) -> ServicePort:
    fields = reader.fields(node, path, PORT)
    if "port" not in fields:
        reader.refuse(node, f"{path}.port", "this field is missing", "A port needs a number from 1 to 65535.")
    number = port(reader, fields["port"], f"{path}.port")
    name = fields.get("name")
    low, high = NODE_PORTS
    node_port = fields.get("nodePort")
    chosen = _node_port(reader, node_port, f"{path}.nodePort", low, high) if node_port is not None else None
    if needs_node_port and not chosen:
        hint = f"{_NO_API_SERVER} For a LoadBalancer without, set spec.allocateLoadBalancerNodePorts to false."
        reader.refuse(node, f"{path}.nodePort", f"expected a number from {low} to {high}, found nothing", hint)
    if chosen and not allowed and node_port is not None:
        reader.refuse(node_port, f"{path}.nodePort", "only a Service of type NodePort or LoadBalancer has one")
    return ServicePort(
        port=number,
        protocol=protocol(reader, fields, path),
        name=_port_name(reader, name, f"{path}.name") if name is not None else "",
        target_port=_target_port(reader, fields.get("targetPort"), f"{path}.targetPort", number),
        node_port=chosen,
        app_protocol=optional_text(reader, fields, "appProtocol", path),
    )


def _node_port(reader: Reader, node: Node, path: str, low: int, high: int) -> int | None:
    if isinstance(node, ScalarNode) and node.value == "0":
        return None
    return reader.integer(node, path, low, high)


def _port_name(reader: Reader, node: Node, path: str) -> str:
    value = reader.text(node, path)
    if value:
        reader.matching(node, path, LABEL, 'a name of lower-case letters, digits and "-"')
    return value


def _target_port(reader: Reader, node: Node | None, path: str, default: int) -> int | str:
    """Return the pods' port: a number or the name of a container's port; the API's default is the port itself."""
    if node is None:
        return default
    if isinstance(node, ScalarNode) and node.tag.endswith(":str"):
        what = "a number from 1 to 65535 or the name of a container's port"
        return reader.matching(node, path, LABEL, what)
    return port(reader, node, path)


def _affinity(reader: Reader, spec: Fields) -> tuple[Literal["None", "ClientIP"], int]:
    kind = cast("Literal['None', 'ClientIP']", _choice(reader, spec, "sessionAffinity", ("None", "ClientIP"), "None"))
    seconds = 10800
    if "sessionAffinityConfig" in spec:
        path = "spec.sessionAffinityConfig"
        config = reader.fields(spec["sessionAffinityConfig"], path, ("clientIP",))
        if "clientIP" in config:
            inner = reader.fields(config["clientIP"], f"{path}.clientIP", ("timeoutSeconds",))
            if "timeoutSeconds" in inner:
                where = f"{path}.clientIP.timeoutSeconds"
                seconds = reader.integer(inner["timeoutSeconds"], where, 1, LONGEST_AFFINITY)
    return kind, seconds


def _ingress(reader: Reader, fields: Fields) -> tuple[LoadBalancerIngress, ...]:
    if "status" not in fields:
        return ()
    status = reader.fields(fields["status"], "status")
    if "loadBalancer" not in status:
        return ()
    balancer = reader.fields(status["loadBalancer"], "status.loadBalancer", ("ingress",))
    path = "status.loadBalancer.ingress"
    found = []
    for i, node in enumerate(reader.items(balancer.get("ingress"), path)):
        entry = reader.fields(node, f"{path}[{i}]", ("hostname", "ip", "ipMode", "ports"))
        mode = reader.choice(entry["ipMode"], f"{path}[{i}].ipMode", ("VIP", "Proxy")) if "ipMode" in entry else None
        found.append(
            LoadBalancerIngress(
                ip=address(reader, entry["ip"], f"{path}[{i}].ip") if "ip" in entry else None,
                hostname=optional_text(reader, entry, "hostname", f"{path}[{i}]"),
                ip_mode=cast("Literal['VIP', 'Proxy'] | None", mode),
            )
        )
    return tuple(found)
