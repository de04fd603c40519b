"""Which UDP flows are taken for stale."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.lab.run import Expect, ScriptedRunner
from kplab.model.cluster import Cluster, Endpoint, EndpointPort, EndpointSlice, Service, ServicePort
from kplab.proxy.conntrack import forget_stale_flows, parse_flows

pytestmark = pytest.mark.unit

CLUSTER = Cluster(
    services=(
        Service(
            "kube-system", "dns", type="NodePort", cluster_ips=("10.96.0.10",),
            ports=(ServicePort(53, "UDP", "dns", node_port=30053),),
        ),
    ),
    endpoint_slices=(
        EndpointSlice(
            "kube-system", "dns-1", "dns", ports=(EndpointPort(53, "UDP", "dns"),),
            endpoints=(Endpoint(("10.244.1.2",)), Endpoint(("10.244.1.3",), ready=False, serving=False)),
        ),
    ),
)  # fmt: skip

LINE = (
    "udp 17 29 src=10.244.1.5 dst={to} sport={port} dport={dport} src={by} dst=10.244.1.5 sport=53 dport={port} mark=0"
)


def line(port: int, to: str, by: str, dport: int = 53) -> str:
    """Return one line of `conntrack -L`."""
    return LINE.format(port=port, to=to, by=by, dport=dport)


def test_a_line_is_read_whatever_stands_between_the_tuples() -> None:
    """`[UNREPLIED]` comes before the reply tuple; a line without ports is passed over."""
    text = line(7, "10.96.0.10", "10.244.1.2").replace(" src=10.244.1.2", " [UNREPLIED] src=10.244.1.2")
    flows = parse_flows(text + "\nicmp 1 29 src=1.1.1.1 dst=2.2.2.2 type=8 src=2.2.2.2 dst=1.1.1.1 type=0\n")

    assert [(f.source, f.destination, f.answered_by) for f in flows] == [
        (("10.244.1.5", 7), ("10.96.0.10", 53), ("10.244.1.2", 53))
    ]


def test_flows_to_endpoints_that_do_not_serve_are_deleted() -> None:
    """By ClusterIP and by NodePort; flows to serving endpoints, and to no Service, stay."""
    listed = [
        line(1, "10.96.0.10", "10.244.1.2"),
        line(2, "10.96.0.10", "10.244.1.3"),
        line(3, "10.96.0.10", "10.96.0.10"),
        line(4, "192.168.50.10", "10.244.9.9", 30053),
        line(5, "8.8.8.8", "8.8.8.8"),
    ]
    deleted = (
        "-D -p udp -s 10.244.1.5 -d 10.96.0.10 --sport 2 --dport 53\n"
        "-D -p udp -s 10.244.1.5 -d 10.96.0.10 --sport 3 --dport 53\n"
        "-D -p udp -s 10.244.1.5 -d 192.168.50.10 --sport 4 --dport 30053\n"
    )
    runner = ScriptedRunner(
        [
            Expect(["conntrack", "-L", "-f", "ipv4", "-p", "udp"], stdout="\n".join(listed)),
            Expect(["conntrack", "--load-file", "-"], deleted),
        ]
    )

    assert forget_stale_flows(runner, CLUSTER, 4, "node-a", count_file=Path("/nonexistent")) == 3
    runner.assert_done()


def test_an_empty_table_needs_no_program(tmp_path: Path) -> None:
    """The namespace's count says that there is no entry."""
    count = tmp_path / "nf_conntrack_count"
    count.write_text("0\n")

    assert forget_stale_flows(ScriptedRunner(), CLUSTER, 4, "node-a", count_file=count) == 0
