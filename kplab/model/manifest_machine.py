"""`v1` Nodes and Pods as YAML -> `Node` and `Pod`: only the fields that matter to kube-proxy and to the lab."""

from __future__ import annotations

from yaml.nodes import Node as YamlNode

from kplab.model.cluster import ContainerPort, Node, Pod
from kplab.model.manifest_values import (
    SUBDOMAIN,
    Metadata,
    address,
    cidr,
    optional_boolean,
    optional_text,
    port,
    protocol,
)
from kplab.model.yaml_reader import Fields, Reader


def read_node(reader: Reader, root: YamlNode, fields: Fields) -> Node:
    """Return a Node; raises ManifestError."""
    meta = Metadata(reader, root, fields, "Node", SUBDOMAIN)
    spec = reader.fields(fields["spec"], "spec") if "spec" in fields else {}
    status = reader.fields(fields["status"], "status") if "status" in fields else {}
    return Node(
        name=meta.name,
        internal_ips=_internal_ips(reader, status),
        pod_cidrs=_pod_cidrs(reader, spec),
        labels=meta.labels,
    )


def read_pod(reader: Reader, root: YamlNode, fields: Fields) -> Pod:
    """Return a Pod; raises ManifestError."""
    meta = Metadata(reader, root, fields, "Pod", SUBDOMAIN)
    spec = reader.fields(fields["spec"], "spec") if "spec" in fields else {}
    status = reader.fields(fields["status"], "status") if "status" in fields else {}
    return Pod(
        namespace=meta.namespace,
        name=meta.name,
        node_name=optional_text(reader, spec, "nodeName", "spec"),
        ips=_pod_ips(reader, status),
        ports=_container_ports(reader, spec),
        labels=meta.labels,
        host_network=optional_boolean(reader, spec, "hostNetwork", "spec") or False,
    )


def _internal_ips(reader: Reader, status: Fields) -> tuple[str, ...]:
    found = []
    for i, node in enumerate(reader.items(status.get("addresses"), "status.addresses")):
        path = f"status.addresses[{i}]"
        entry = reader.fields(node, path)
        if optional_text(reader, entry, "type", path) == "InternalIP" and "address" in entry:
            found.append(address(reader, entry["address"], f"{path}.address"))
    return tuple(found)


def _pod_cidrs(reader: Reader, spec: Fields) -> tuple[str, ...]:
    nodes = reader.items(spec.get("podCIDRs"), "spec.podCIDRs")
    listed = tuple(cidr(reader, node, f"spec.podCIDRs[{i}]") for i, node in enumerate(nodes))
    if not listed and "podCIDR" in spec:
        return (cidr(reader, spec["podCIDR"], "spec.podCIDR"),)
    return listed


def _pod_ips(reader: Reader, status: Fields) -> tuple[str, ...]:
    found = []
    for i, node in enumerate(reader.items(status.get("podIPs"), "status.podIPs")):
        entry = reader.fields(node, f"status.podIPs[{i}]")
        if "ip" in entry:
            found.append(address(reader, entry["ip"], f"status.podIPs[{i}].ip"))
    if not found and "podIP" in status:
        return (address(reader, status["podIP"], "status.podIP"),)
    return tuple(found)


def _container_ports(reader: Reader, spec: Fields) -> tuple[ContainerPort, ...]:
    found = []
    for i, node in enumerate(reader.items(spec.get("containers"), "spec.containers")):
        container = reader.fields(node, f"spec.containers[{i}]")
        where = f"spec.containers[{i}].ports"
        for k, item in enumerate(reader.items(container.get("ports"), where)):
            path = f"{where}[{k}]"
            entry = reader.fields(item, path)
            if "containerPort" not in entry:
                reader.refuse(item, f"{path}.containerPort", "this field is missing")
            found.append(
                ContainerPort(
                    port=port(reader, entry["containerPort"], f"{path}.containerPort"),
                    protocol=protocol(reader, entry, path),
                    name=optional_text(reader, entry, "name", path) or "",
                )
            )
    return tuple(found)
