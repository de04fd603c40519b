"""Kubernetes YAML: what is read, and that whatever is wrong with a file is one clear message."""

from __future__ import annotations

import json
import random
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kplab.errors import ManifestError
from kplab.model.cluster import Cluster, ContainerPort, EndpointPort, Node, Pod, ServicePort
from kplab.model.loader import LARGEST_FILE, Memo, load_cluster, parse_cluster
from kplab.model.synthetic import large_cluster, large_manifest

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
FILE = "cluster.yaml"
SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: demo
spec:
  type: NodePort
  clusterIP: 10.96.0.42
  ports:
    - name: http
      port: 80
      nodePort: 30080
"""
SLICE = """\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-x1
  namespace: demo
  labels: {kubernetes.io/service-name: web}
addressType: IPv4
ports:
  - port: 8080
endpoints:
  - addresses: [10.244.1.10]
    nodeName: node-a
    conditions: {ready: true}
    hints: {forZones: [{name: zone-1}], forNodes: [{name: node-a}]}
    targetRef: {kind: Pod, namespace: demo, name: web-1}
"""


def parse(text: str) -> Cluster:
    """Read text as `cluster.yaml`."""
    return parse_cluster(text, FILE)


def refused(text: str) -> ManifestError:
    """The error that a text is refused with."""
    with pytest.raises(ManifestError) as caught:
        parse(text)
    return caught.value


def test_defaults_are_those_of_the_api_server() -> None:
    """What a Service leaves out is filled in as the API server fills it in."""
    service = parse(SERVICE).services[0]
    assert service.ports == (ServicePort(80, "TCP", "http", 80, 30080),)
    assert service.cluster_ips == ("10.96.0.42",)
    assert service.session_affinity_timeout_seconds == 10800
    assert (service.external_traffic_policy, service.internal_traffic_policy) == ("Cluster", "Cluster")
    assert service.session_affinity == "None"


def test_a_slice_is_read_whole() -> None:
    """Ports, addresses, conditions, hints and the pod behind an endpoint; an absent port name is the empty one."""
    piece = parse(SLICE).endpoint_slices[0]
    assert piece.ports == (EndpointPort(8080, "TCP", ""),)
    assert piece.service_name == "web"
    endpoint = piece.endpoints[0]
    assert (endpoint.ready, endpoint.serving, endpoint.terminating) == (True, None, None)
    assert (endpoint.hint_zones, endpoint.hint_nodes) == (("zone-1",), ("node-a",))
    assert endpoint.target_pod == "demo/web-1"


def test_nodes_and_pods_are_read() -> None:
    """Of a Node: addresses, pod CIDRs, labels; of a Pod: where it runs, its addresses and ports."""
    cluster = parse(
        "apiVersion: v1\nkind: Node\nmetadata: {name: node-a, labels: {zone: z}}\nspec: {podCIDR: 10.244.1.7/24}\n"
        "status: {addresses: [{type: Hostname, address: a}, {type: InternalIP, address: FD00::A}]}\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1}\nstatus: {podIP: 10.244.1.10}\n"
        "spec: {nodeName: node-a, hostNetwork: true, containers: [{ports: [{containerPort: 53, protocol: UDP}]}]}\n"
    )
    assert cluster.nodes == (Node("node-a", ("fd00::a",), ("10.244.1.0/24",), (("zone", "z"),)),)
    assert cluster.pods == (
        Pod("default", "web-1", "node-a", ("10.244.1.10",), (ContainerPort(53, "UDP"),), host_network=True),
    )


def test_lists_documents_and_json_say_the_same() -> None:
    """Several documents, a List, a ServiceList without kinds inside, and JSON are the same cluster."""
    objects = [yaml.safe_load(SERVICE), yaml.safe_load(SLICE)]
    whole = parse(f"{SERVICE}---\n{SLICE}")
    assert parse(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": objects})) == whole
    assert parse(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})) == whole
    bare = {"metadata": objects[0]["metadata"], "spec": objects[0]["spec"]}
    listed = yaml.safe_dump({"apiVersion": "v1", "kind": "ServiceList", "items": [bare]})
    assert parse(listed).services == whole.services


def test_other_kinds_are_passed_over() -> None:
    """A Deployment or a ConfigMap between the objects is no error, whatever it holds."""
    other = (
        "apiVersion: apps/v1\nkind: Deployment\nspec: {anything: [1, {2: 3}]}\n---\nkind: DeploymentList\nitems: 7\n"
    )
    assert parse(f"{other}---\n{SERVICE}").services == parse(SERVICE).services


def test_merge_keys_and_anchors_work() -> None:
    """`<<` brings fields in, and a field that stands beside it wins."""
    text = SERVICE.replace("    - name: http\n", "    - &p\n      name: http\n")
    text += "    - <<: *p\n      name: admin\n      port: 81\n      nodePort: 30081\n"
    assert [(p.name, p.port) for p in parse(text).services[0].ports] == [("http", 80), ("admin", 81)]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/*.yaml")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_golden_manifest_is_read(path: Path) -> None:
    """Every Service, slice and node of the real API server's state is there."""
    documents = [d for d in yaml.load_all(path.read_text(), yaml.CSafeLoader) if d]
    cluster = load_cluster(path)
    kinds = [d["kind"] for d in documents]
    assert len(cluster.services) == kinds.count("Service")
    assert len(cluster.endpoint_slices) == kinds.count("EndpointSlice")
    assert len(cluster.nodes) == kinds.count("Node")


WRONG = [
    ("port: 80\n", "port: eighty\n", 11, "spec.ports[0].port", "expected a number from 1 to 65535, found 'eighty'"),
    ("port: 80\n", "port: 70000\n", 11, "spec.ports[0].port", "expected a number from 1 to 65535, found '70000'"),
    ("port: 80\n", "prot: 80\n", 11, "spec.ports[0].prot", "there is no such field"),
    ("port: 80\n", "port: 80\n      protocol: tcp\n", 12, "spec.ports[0].protocol", "expected TCP, UDP or SCTP"),
    ("port: 80\n", "port: 80\n      port: 81\n", 12, "spec.ports[0].port", "given twice"),
    ("nodePort: 30080", "nodePort: 8080", 12, "spec.ports[0].nodePort", "from 30000 to 32767, found '8080'"),
    ("      nodePort: 30080\n", "", 10, "spec.ports[0].nodePort", "from 30000 to 32767, found nothing"),
    ("10.96.0.42", "10.96.0.420", 8, "spec.clusterIP", "expected an IPv4 or IPv6 address, found '10.96.0.420'"),
    ("10.96.0.42", "::ffff:10.0.0.1", 8, "spec.clusterIP", "expected an IPv4 or IPv6 address"),
    ("  clusterIP: 10.96.0.42\n", "", 7, "spec.clusterIP", "this field is missing"),
    ("  clusterIP:", "  clusterIPs: [10.96.0.1, 10.96.0.2]\n  #", 8, "spec.clusterIPs", "one address of each family"),
    ("  clusterIP:", "  clusterIPs: [10.96.0.1]\n  clusterIP:", 8, "spec.clusterIPs[0]", "is not spec.clusterIP"),
    ("  type: NodePort", "  type: Nodeport", 7, "spec.type", "found 'Nodeport'"),
    ("  type: NodePort", "  type: ClusterIP", 12, "spec.ports[0].nodePort", "only a Service of type NodePort"),
    ("  name: web\n", "", 4, "metadata.name", "this field is missing"),
    ("  name: web\n", "  name: Web\n", 4, "metadata.name", "found 'Web'"),
    ("  name: web\n", '  name: "a\\"b"\n', 4, "metadata.name", "found 'a\"b'"),
    ("  name: web\n", "  name: 7\n", 4, "metadata.name", "expected a string, found the number 7"),
    ("apiVersion: v1", "apiVersion: v2", 1, "apiVersion", "expected v1, found 'v2'"),
    ("kind: Service\n", "kind: Service\nspec: {}\n", 7, "spec", "given twice"),
    ("  ports:\n", "  sessionAffinity: clientip\n  ports:\n", 9, "spec.sessionAffinity", "None or ClientIP"),
    ("  ports:\n", "  externalIPs: [127.0.0.1]\n  ports:\n", 9, "spec.externalIPs[0]", "cannot be used here"),
    ("  ports:", "  loadBalancerSourceRanges: [10.0.0.0/33]\n  ports:", 9, "spec.loadBalancerSourceRanges[0]", "CIDR"),
    ("  ports:\n", "  externalTrafficPolicy: yes\n  ports:\n", 9, "spec.externalTrafficPolicy", "Cluster or Local"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "field", "says"), WRONG)
def test_a_wrong_field_is_named_with_its_line(old: str, new: str, line: int, field: str, says: str) -> None:
    """The message has file, line, object, field path, what was expected and what was found."""
    error = refused(SERVICE.replace(old, new, 1))
    assert (error.file, error.line, error.field) == (FILE, line, field)
    assert str(error).startswith(f"{FILE}:{line}: ")
    assert says in str(error)


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "says"),
    [
        ("10.244.1.10", "10.244.1.300", 11, "endpoints[0].addresses[0]", "expected an IPv4 or IPv6 address"),
        ("10.244.1.10", "fd00::1", 11, "endpoints[0].addresses[0]", "expected an IPv4 address"),
        ("[10.244.1.10]", "[]", 11, "endpoints[0].addresses", "expected 1 to 100 addresses, found 0"),
        ("ready: true", "ready: maybe", 13, "endpoints[0].conditions.ready", "expected true or false, found 'maybe'"),
        ("ready: true", "redy: true", 13, "endpoints[0].conditions.redy", "Did you mean ready?"),
        ("addressType: IPv4\n", "", 1, "addressType", "expected IPv4, IPv6 or FQDN, found nothing"),
        ("discovery.k8s.io/v1", "discovery.k8s.io/v1beta1", 1, "apiVersion", "expected discovery.k8s.io/v1"),
        ("  - port: 8080", "  - port: 0", 9, "ports[0].port", "expected a number from 1 to 65535"),
    ],
)
def test_a_wrong_slice_is_named_with_its_line(old: str, new: str, line: int, field: str, says: str) -> None:
    """The same for EndpointSlices."""
    error = refused(SLICE.replace(old, new, 1))
    assert (error.line, error.field) == (line, field)
    assert says in str(error)


def test_the_whole_message_reads_well() -> None:
    """One message, word for word."""
    error = refused(f"{SLICE}---\n{SERVICE.replace('port: 80', 'port: eighty', 1)}")
    expected = (
        "cluster.yaml:27: Service demo/web: spec.ports[0].port: expected a number from 1 to 65535, found 'eighty'"
    )
    assert str(error) == expected


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (SERVICE, "Service demo/web: it is defined already, on line 1"),
        (
            SERVICE.replace("name: web", "name: api").replace("30080", "30081"),
            "Service demo/api: spec.clusterIP: 10.96.0.42 is already used by Service demo/web (line 1)",
        ),
        (
            SERVICE.replace("name: web", "name: api").replace("10.96.0.42", "10.96.0.43"),
            "Service demo/api: nodePort: 30080/TCP is already used by Service demo/web (line 1)",
        ),
    ],
)
def test_what_two_objects_claim_is_refused(second: str, says: str) -> None:
    """Names, clusterIPs and nodePorts belong to one object; the message has both places."""
    error = refused(f"{SERVICE}---\n{second}")
    assert f"{FILE}:14: {says}" in str(error)


def test_a_node_port_may_be_shared_by_protocols() -> None:
    """30080/TCP and 30080/UDP are two ports."""
    text = SERVICE + "    - name: udp\n      port: 80\n      protocol: UDP\n      nodePort: 30080\n"
    assert [p.node_port for p in parse(text).services[0].ports] == [30080, 30080]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no object in this file"),
        ("# nothing\n---\n", "there is no object in this file"),
        ("hello", "expected a Kubernetes object"),
        ("- 1\n", "found a list"),
        ("spec:\n\tports: 1\n", "there is a tab on this line"),
        ("a: [1\n", "this is not YAML"),
        ("\x00\x01\x02", "control characters are not allowed"),
        ("\ud800", "this is not YAML"),
        ("[" * 100_000, "nested more than"),
        ("{a: " * 100_000, "nested more than"),
        ("- " * 100_000, "nested more than"),
        ("? " * 100_000, "nested more than"),
        ("kind: List\nitems: &i\n- kind: List\n  items: *i\n", "inside a list"),
        ("kind: List\nitems: &i [*i]\n", "expected a Kubernetes object"),
        ("kind: Service\nmetadata: &m {<<: *m}\napiVersion: v1\n", "merge keys"),
        ("metadata: {name: a}\n", "kind: this field is missing"),
        ("kind: Service\nmetadata: {name: a}\n", "expected v1, found nothing"),
        ("kind: *nobody\n", "undefined alias"),
        (f"apiVersion: v1\nkind: Service\nmetadata: {{name: a, namespace: {'x' * 10_000}}}\n", "xxx..."),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_no_manifest_is_one_message(text: str, says: str) -> None:
    """Empty, binary, cut short, tabs, endless nesting, recursion: a ManifestError, short enough to read."""
    error = refused(text)
    assert says in str(error)
    assert len(str(error)) < 400


def test_aliases_cannot_multiply_the_work() -> None:
    """A file whose aliases stand for millions of values is refused, and quickly."""
    names = "x: &l [" + ",".join(["{name: a}"] * 3000) + "]\n"
    endpoints = ",".join(["{addresses: [10.0.0.1], hints: {forZones: *l}}"] * 1000)
    item = f"{{{SLICE_HEAD}, endpoints: [{endpoints}]}}"
    started = time.monotonic()
    assert "aliases repeat more values" in str(refused(f"kind: List\n{names}items: [{item}]\n"))
    merges = "kind: List\na0: &a0 {b: 1}\n"
    merges += "".join(f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 15))
    assert "aliases repeat more values" in str(refused(f"{merges}items: [*a14]\n"))
    assert time.monotonic() - started < 5


SLICE_HEAD = "kind: EndpointSlice, apiVersion: discovery.k8s.io/v1, metadata: {name: x}, addressType: IPv4"


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    """A file that is missing, a folder, binary, or too large to be a manifest."""
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\x7fELF\xff\xfe")
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    for path, says in (
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path, "Is a directory"),
        (binary, "is not UTF-8 text"),
        (huge, "are the most"),
    ):
        with pytest.raises(ManifestError) as caught:
            load_cluster(path)
        assert says in str(caught.value)
        assert caught.value.file == str(path)


def test_only_changed_documents_are_read_again() -> None:
    """With a memo, the same document gives the very same object, and its line is where it stands now."""
    memo: Memo = {}
    first = parse_cluster(f"{SERVICE}---\n{SLICE}", FILE, memo)
    second = parse_cluster(f"# a new first line\n---\n{SLICE}---\n{SERVICE}".replace("8080", "9090"), FILE, memo)
    third = parse_cluster(f"# a new first line\n---\n{SLICE}---\n{SERVICE}".replace("8080", "9091"), FILE, memo)
    assert first.services == second.services
    assert third.services[0] is second.services[0]
    assert third.endpoint_slices[0].ports[0].port == 9091
    with pytest.raises(ManifestError, match=r"cluster.yaml:32: .* on line 19"):
        parse_cluster(f"# a new first line\n---\n{SLICE}---\n{SERVICE}---\n{SERVICE}", FILE, memo)
    with pytest.raises(ManifestError, match="no object"):
        parse_cluster("# nothing", FILE, memo)
    with pytest.raises(ManifestError, match="no object"):
        parse_cluster("# nothing", FILE, memo)


def test_line_numbers_hold_in_every_document() -> None:
    """Cutting the text at its markers does not shift the lines of messages."""
    text = f"# comment\n---\n\n{SLICE}\n--- # more\n{SERVICE.replace('port: 80', 'port: x', 1)}...\n---\n{SLICE}"
    error = refused(text)
    assert text.splitlines()[error.line - 1].strip() == "port: x"


def test_a_large_cluster_is_read_as_it_was_made() -> None:
    """The generator's two forms are the same cluster, and the same each time."""
    assert parse(large_manifest(50, 6)) == large_cluster(50, 6)
    assert large_manifest(50, 6) == large_manifest(50, 6)
    with pytest.raises(ValueError, match="more than"):
        large_cluster(100_000, 1)


TEXTS = [
    (GOLDEN / name / "manifest.yaml").read_text()
    for name in ("dualstack-lb", "external-ips", "topology-hints", "external-name", "headless")
]
SCRAPS = [
    "", "null", "-1", "99999999999", "0x10", "1e400", "[]", "{}", "~", "'", '"', "*a", "&a", "!!int x", "<<: *a", "\t",
    "None", "::1",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(TEXTS), st.integers(0, 2**32), st.integers(1, 6))
def test_a_mutated_manifest_raises_nothing_but_its_own_error(text: str, seed: int, changes: int) -> None:
    """Lines dropped, doubled, re-indented, cut; values replaced: a cluster or a ManifestError, nothing else."""
    chance = random.Random(seed)  # noqa: S311 not for secrets
    lines = text.split("\n")
    for _ in range(changes):
        at = chance.randrange(len(lines))
        key, colon, _value = lines[at].partition(":")
        match chance.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[chance.randrange(len(lines))])
            case 2:
                lines[at] = " " * chance.randrange(8) + lines[at].strip()
            case 3:
                lines[at] = f"{key}{colon} {chance.choice(SCRAPS)}"
            case 4:
                lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
            case _:
                lines[at] = chance.choice(["---", "...", "%YAML 1.1", "- ", "? x", "\ufeff", "kind: Pod"])
    _parse_or_refuse("\n".join(lines) or "x")


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_raises_nothing_but_a_manifest_error(text: str) -> None:
    """Arbitrary characters, lone surrogates and controls included."""
    _parse_or_refuse(text)
    _parse_or_refuse(f"kind: Service\napiVersion: v1\nmetadata: {text}\n")


def _parse_or_refuse(text: str) -> None:
    with suppress(ManifestError):
        assert parse(text).source == FILE
