"""What one round of the loop syncs and reports, with a clock and programs that are only said to run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kplab.errors import ApplyError
from kplab.lab.run import ScriptedRunner
from kplab.model.cluster import Cluster, Family
from kplab.model.loader import parse_cluster
from kplab.model.proxy_config import IptablesConfig, ProxyConfig
from kplab.modes.facts import NodeFacts
from kplab.proxy.apply import Order
from kplab.proxy.canary import Canary
from kplab.proxy.iptables_writer import IptablesWriter
from kplab.proxy.loop import Loop, Parts
from kplab.proxy.proxier import Proxier
from kplab.proxy.report import Reporter
from kplab.proxy.schedule import Schedule
from kplab.proxy.tools import Tools
from kplab.proxy.watch import ManifestWatch

pytestmark = pytest.mark.unit

CONFIG = ProxyConfig(iptables=IptablesConfig(min_sync_period=1.0, sync_period=30.0))


@dataclass
class FakeApplier:
    """Keeps the orders, and refuses those that a test wants refused."""

    orders: list[Order] = field(default_factory=list)
    refuse: bool = False

    def apply(self, order: Order) -> None:
        """Keep or refuse."""
        self.orders.append(order)
        if self.refuse:
            raise ApplyError("write rules", "refused by the test")


class Scene:
    """A loop over a manifest in a folder, on a clock that a test moves."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.path = folder / "manifest.yaml"
        self.write({"web": ["10.244.1.10"], "keep": ["10.244.1.20"]})
        self.appliers: dict[Family, FakeApplier] = {4: FakeApplier(), 6: FakeApplier()}
        self.forgotten: list[int] = []
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        self.fds = (self._reader, writer)
        self.watch = ManifestWatch(self.path)
        families: tuple[Family, ...] = (4, 6)
        proxiers = [
            Proxier(f, "node-a", Schedule(1.0, 30.0), IptablesWriter(f, "node-a", CONFIG, self.appliers[f], NodeFacts))
            for f in families
        ]
        self.loop = Loop(
            Parts(
                watch=self.watch,
                parse=lambda text: parse_cluster(text, "manifest.yaml"),
                proxiers=proxiers,
                # A first look comes after 30 s: no test here lets that much time pass at once.
                canaries=[Canary(Tools(ScriptedRunner(), "nft", f), 1e9, creates=False) for f in families],
                reporter=Reporter(writer, 0),
                forget_flows=self.forget,
                clock=lambda: self.now,
            )
        )

    def forget(self, cluster: Cluster, family: Family) -> int:
        """Keep which family's flows were looked at."""
        self.forgotten.append(family)
        return 0

    def write(self, services: dict[str, list[str]], *, zone: str = "a", protocol: str = "TCP", extra: str = "") -> None:
        """Write a manifest of ClusterIP Services and their endpoints."""
        labels = f"{{topology.kubernetes.io/zone: {zone}}}"
        parts = [f"{{apiVersion: v1, kind: Node, metadata: {{name: node-a, labels: {labels}}}}}"]
        for number, (name, addresses) in enumerate(services.items(), start=20):
            port = f"port: 80, protocol: {protocol}"
            parts.append(
                f"{{apiVersion: v1, kind: Service, metadata: {{namespace: demo, name: {name}{extra}}}, "
                f"spec: {{clusterIP: 10.96.0.{number}, ports: [{{{port}}}]}}}}"
            )
            endpoints = ", ".join(f"{{addresses: [{a}]}}" for a in addresses)
            parts.append(
                f"{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, "
                f"metadata: {{namespace: demo, name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}, "
                f'ports: [{{name: "", {port}}}], endpoints: [{endpoints}]}}'
            )
        self.path.write_text("\n---\n".join(parts) + "\n")

    def change(self, after: float, services: dict[str, list[str]], **more: str) -> list[str]:
        """Change the manifest, let time pass, and take a turn; return what was synced."""
        self.write(services, **more)
        self.watch.notice()
        return self.turn(after)

    def turn(self, after: float) -> list[str]:
        """Let time pass and take a turn; return what was synced: "partial4" and so on."""
        self.now += after
        return [f"{outcome.kind}{outcome.family}" for outcome in self.loop.turn()]

    def reports(self) -> list[dict[str, Any]]:
        """Return the reports written since the last call."""
        try:
            return [json.loads(line) for line in os.read(self._reader, 1 << 16).splitlines()]
        except BlockingIOError:
            return []


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A scene whose first sync has been done, with its report taken."""
    made = Scene(tmp_path)
    assert [o.kind for o in made.loop.first()] == ["full", "full"]
    made.reports()
    yield made
    made.watch.close()
    for fd in made.fds:
        os.close(fd)


WEB, TWO, KEEP = ["10.244.1.10"], ["10.244.1.10", "10.244.1.11"], ["10.244.1.20"]


def test_a_change_of_endpoints_is_a_partial_sync_of_one_family(scene: Scene) -> None:
    """Only the Service whose endpoints changed is written; the other family is left alone."""
    assert scene.change(5.0, {"web": TWO, "keep": KEEP}) == ["partial4"]
    assert scene.appliers[4].orders[-1].changed == frozenset({"demo/web"})
    assert len(scene.appliers[6].orders) == 1


def test_a_zone_change_is_a_full_sync_of_both(scene: Scene) -> None:
    """kube-proxy watches its own Node's topology labels."""
    assert scene.change(5.0, {"web": WEB, "keep": KEEP}, zone="b") == ["full4", "full6"]


def test_a_sync_after_an_hour_is_full(scene: Scene) -> None:
    """FullSyncPeriod; it comes by itself, without any change."""
    assert scene.turn(3599.0) == []
    assert scene.turn(2.0) == ["full4", "full6"]


def test_a_failed_partial_sync_is_followed_by_a_full_one(scene: Scene) -> None:
    """It is retried after syncPeriod, and then writes everything; the report carries the error."""
    scene.appliers[4].refuse = True

    assert scene.change(5.0, {"web": TWO, "keep": KEEP}) == ["partial4"]

    scene.appliers[4].refuse = False

    assert scene.turn(29.0) == []
    assert scene.turn(1.0) == ["full4"]
    assert [report["error"] for report in scene.reports()] == ["IPv4: write rules: refused by the test", None]


def test_changes_while_a_failure_waits_are_not_lost(scene: Scene) -> None:
    """The full sync that follows a failure covers what changed before and since."""
    scene.appliers[4].refuse = True
    scene.change(5.0, {"web": TWO, "keep": KEEP})
    scene.appliers[4].refuse = False

    assert scene.change(2.0, {"web": TWO, "keep": WEB}) == ["full4"]


def test_changes_within_the_minimum_period_share_a_sync(scene: Scene) -> None:
    """Both Services are written by the one sync that follows; one report tells of it."""
    scene.change(5.0, {"web": TWO, "keep": KEEP})
    scene.reports()

    assert scene.change(0.1, {"web": WEB, "keep": KEEP}) == []
    assert scene.change(0.1, {"web": WEB, "keep": TWO}) == []
    assert scene.turn(0.9) == ["partial4"]
    assert scene.appliers[4].orders[-1].changed == frozenset({"demo/web", "demo/keep"})
    assert [(report["kind"], report["families"]) for report in scene.reports()] == [("partial", [4])]


def test_what_changes_no_rule_is_reported_once(scene: Scene) -> None:
    """A label on a Service: no sync, and one line that says so."""
    assert scene.change(5.0, {"web": WEB, "keep": KEEP}, extra=", labels: {a: b}") == []
    assert [(r["kind"], r["families"], r["error"]) for r in scene.reports()] == [("none", [], None)]


def test_a_bad_manifest_is_reported_and_nothing_is_written(scene: Scene) -> None:
    """The last good state stays, also for the sync that comes after."""
    scene.path.write_text("kind: [\n")
    scene.watch.notice()

    assert scene.turn(5.0) == []
    assert "manifest.yaml" in scene.reports()[0]["error"]
    assert scene.change(5.0, {"web": TWO, "keep": KEEP}) == ["partial4"]


def test_udp_flows_are_looked_at_after_a_change_of_a_udp_service(scene: Scene) -> None:
    """At the start in any case; after a change of a TCP Service not."""
    assert scene.forgotten == [4, 6]

    scene.change(5.0, {"web": TWO, "keep": KEEP})

    assert scene.forgotten == [4, 6]

    scene.change(5.0, {"web": TWO, "keep": KEEP}, protocol="UDP")

    assert scene.forgotten == [4, 6, 4]


def test_stale_chains_of_a_large_cluster_are_looked_for_once_a_sync_period(scene: Scene) -> None:
    """Up to 1,000 endpoints at each sync; above, at most each 30 s."""
    many = [f"10.244.{i // 250}.{i % 250 + 1}" for i in range(600)]
    scene.change(5.0, {"web": TWO, "keep": KEEP})
    scene.change(5.0, {"web": many, "keep": many})
    scene.change(31.0, {"web": many, "keep": many[1:]})

    assert [order.clean_stale for order in scene.appliers[4].orders] == [True, True, False, True]
