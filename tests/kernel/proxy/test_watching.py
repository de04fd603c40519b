"""kplab-proxy as a process that watches its manifest: what it notices, what it writes, how it ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kplab.modes.names import endpoint_chain, service_chain

pytestmark = pytest.mark.kernel

WEB, KEEP = ["10.244.1.10", "10.244.2.10"], ["10.244.1.20"]
FAST = ("--iptables-min-sync-period", "1ms", "--iptables-sync-period", "1s")
SLOW = ("--iptables-min-sync-period", "1ms", "--iptables-sync-period", "60s")
WEB_SVC, KEEP_SVC = service_chain("KUBE-SVC-", "demo/web", "tcp"), service_chain("KUBE-SVC-", "demo/keep", "tcp")
WEB_SEP = endpoint_chain("demo/web", "tcp", "10.244.1.10:8080")

Node = Any
Start = Callable[..., Any]
Write = Callable[..., Path]

backends = pytest.mark.parametrize("backend", ["nft", "legacy"])


def rules(node: Node, backend: str, chain: str, table: str = "nat") -> list[str]:
    """Return the rules of one chain."""
    return [line for line in node.save(backend, table).splitlines() if line.startswith(f"-A {chain} ")]


@backends
def test_an_atomic_replacement_is_a_partial_sync(
    node: Node, start_proxy: Start, write_manifest: Write, backend: str
) -> None:
    """A manifest that takes the old one's name is noticed; only the family that changed is synced, and partially."""
    path = write_manifest({"web": WEB, "keep": KEEP})
    proxy = start_proxy(node, "--backend", backend, "--manifest", str(path), *SLOW)
    first = proxy.report()
    path = write_manifest({"web": WEB[:1], "keep": KEEP})
    second = proxy.report()

    assert (first["sync"], first["kind"], first["families"], first["error"]) == (1, "full", [4, 6], None)
    assert (second["sync"], second["kind"], second["families"], second["error"]) == (2, "partial", [4], None)
    assert second["manifest_mtime_ns"] == path.stat().st_mtime_ns
    assert len(rules(node, backend, WEB_SVC)) == 1
    assert endpoint_chain("demo/web", "tcp", "10.244.2.10:8080") not in node.save(backend, "nat")


def test_an_edit_in_place_is_noticed(node: Node, start_proxy: Start, write_manifest: Write) -> None:
    """A file written over under the same inode is read again when its writer closes it."""
    path = write_manifest({"web": WEB})
    proxy = start_proxy(node, "--backend", "nft", "--manifest", str(path), *SLOW)
    proxy.report()
    inode = path.stat().st_ino
    text = path.read_text()
    with path.open("w") as file:
        file.write(text.replace("10.244.2.10", "10.244.2.99"))
    told = proxy.report()

    assert path.stat().st_ino == inode
    assert (told["kind"], told["families"]) == ("partial", [4])
    assert "10.244.2.99:8080" in node.save("nft", "nat")


def test_a_swap_behind_a_link_is_noticed(node: Node, start_proxy: Start, write_manifest: Write, tmp_path: Path) -> None:
    """A symbolic link that is replaced, as a mounted ConfigMap's is, counts as a change."""
    path = write_manifest({"web": WEB})
    other = path.rename(tmp_path / "one.yaml")
    link = tmp_path / "link.yaml"
    link.symlink_to(other)
    proxy = start_proxy(node, "--backend", "nft", "--manifest", str(link), *SLOW)
    proxy.report()
    second = write_manifest({"web": KEEP}).rename(tmp_path / "two.yaml")
    (tmp_path / "new").symlink_to(second)
    (tmp_path / "new").rename(link)
    told = proxy.report()

    assert told["kind"] == "partial"
    assert "10.244.1.20:8080" in node.save("nft", "nat")


def test_what_changes_no_rule_is_reported_too(node: Node, start_proxy: Start, write_manifest: Write) -> None:
    """Whoever changed the manifest hears of it even when no rule depends on the change."""
    path = write_manifest({"web": WEB})
    proxy = start_proxy(node, "--backend", "nft", "--manifest", str(path), *SLOW)
    proxy.report()
    path.write_text(path.read_text().replace("demo, name: web}", "demo, name: web, labels: {colour: blue}}"))
    told = proxy.report()

    assert (told["sync"], told["kind"], told["families"], told["error"]) == (2, "none", [], None)
    assert told["manifest_mtime_ns"] == path.stat().st_mtime_ns


def test_a_bad_manifest_leaves_the_last_good_state(node: Node, start_proxy: Start, write_manifest: Write) -> None:
    """It is reported with its line; the rules stay, and the next good one is synced partially."""
    path = write_manifest({"web": WEB, "keep": KEEP})
    proxy = start_proxy(node, "--backend", "nft", "--manifest", str(path), *SLOW)
    proxy.report()
    before = node.save("nft")
    path.write_text(path.read_text().replace("port: 80,", "port: many,", 1))
    bad = proxy.report()
    held = node.save("nft")
    write_manifest({"web": WEB[:1], "keep": KEEP})
    good = proxy.report()

    assert bad["kind"] == "none"
    assert "manifest.yaml:9: Service demo/web: spec.ports[0].port: " in bad["error"]
    assert held == before
    assert (good["kind"], good["error"]) == ("partial", None)


@backends
def test_an_emptied_endpoint_chain_waits_for_its_own_service(
    node: Node, start_proxy: Start, write_manifest: Write, backend: str
) -> None:
    """Another Service's change does not repair a KUBE-SEP chain that a hand has emptied; its own does."""
    path = write_manifest({"web": WEB, "keep": KEEP})
    proxy = start_proxy(node, "--backend", backend, "--manifest", str(path), *SLOW)
    proxy.report()
    node.run(f"iptables-{backend}", "-t", "nat", "-F", WEB_SEP)
    write_manifest({"web": WEB, "keep": [*KEEP, "10.244.1.21"]})
    proxy.report()
    after_other = rules(node, backend, WEB_SEP)
    write_manifest({"web": [*WEB, "10.244.2.11"], "keep": [*KEEP, "10.244.1.21"]})
    proxy.report()

    assert after_other == []
    assert len(rules(node, backend, WEB_SEP)) == 2


@backends
def test_a_deleted_service_rule_is_repaired_by_any_sync(
    node: Node, start_proxy: Start, write_manifest: Write, backend: str
) -> None:
    """KUBE-SERVICES is written whole at each sync, so a rule that a hand has deleted there comes back."""
    path = write_manifest({"web": WEB, "keep": KEEP})
    proxy = start_proxy(node, "--backend", backend, "--manifest", str(path), *SLOW)
    proxy.report()
    before = rules(node, backend, "KUBE-SERVICES")
    node.run(f"iptables-{backend}", "-t", "nat", "-F", "KUBE-SERVICES")
    write_manifest({"web": WEB, "keep": [*KEEP, "10.244.1.21"]})
    proxy.report()

    assert len(before) == 3
    assert rules(node, backend, "KUBE-SERVICES") == before


@backends
def test_a_deleted_jump_waits_for_a_full_sync(
    node: Node, start_proxy: Start, write_manifest: Write, backend: str
) -> None:
    """A partial sync does not look at jumps; a change of the node's zone asks for a full one, which does."""
    path = write_manifest({"web": WEB})
    proxy = start_proxy(node, "--backend", backend, "--manifest", str(path), *SLOW)
    proxy.report()
    before = rules(node, backend, "PREROUTING")
    node.run(f"iptables-{backend}", "-t", "nat", "-F", "PREROUTING")
    write_manifest({"web": WEB[:1]})
    partial = proxy.report()
    after_partial = rules(node, backend, "PREROUTING")
    write_manifest({"web": WEB[:1]}, zone="zone-2")
    full = proxy.report()

    assert (partial["kind"], after_partial) == ("partial", [])
    assert (full["kind"], full["families"]) == ("full", [4, 6])
    assert rules(node, backend, "PREROUTING") == before


@backends
def test_a_partial_sync_that_fails_is_followed_by_a_full_one(
    node: Node, start_proxy: Start, write_manifest: Write, backend: str
) -> None:
    """Where a chain that the partial text leads to was deleted, it is refused; the retry writes everything."""
    path = write_manifest({"web": WEB, "keep": KEEP})
    proxy = start_proxy(node, "--backend", backend, "--manifest", str(path), *FAST)
    proxy.report()
    before = node.save(backend, "nat")
    iptables = (f"iptables-{backend}", "-t", "nat")
    node.run(*iptables, "-F", "KUBE-SERVICES")
    node.run(*iptables, "-F", KEEP_SVC)
    node.run(*iptables, "-X", KEEP_SVC)
    write_manifest({"web": WEB[:1], "keep": KEEP})
    failed = proxy.report()
    repaired = proxy.report()
    write_manifest({"web": WEB, "keep": KEEP})
    proxy.report()

    assert failed["kind"] == "partial"
    assert KEEP_SVC in failed["error"] or "iptables" in failed["error"]
    assert (repaired["kind"], repaired["families"], repaired["error"]) == ("full", [4], None)
    assert sorted(node.save(backend, "nat").splitlines()) == sorted(before.splitlines())


@backends
def test_flushed_tables_are_written_anew(node: Node, start_proxy: Start, write_manifest: Write, backend: str) -> None:
    """When the canary in mangle has gone, and those in nat and filter, everything comes back by itself."""
    path = write_manifest({"web": WEB})
    proxy = start_proxy(node, "--backend", backend, "--manifest", str(path), *FAST)
    proxy.report()
    before = node.save(backend)
    for table in ("nat", "filter", "mangle"):
        node.run(f"iptables-{backend}-restore", stdin=f"*{table}\nCOMMIT\n")
    flushed = node.save(backend, "nat")
    told = proxy.report()

    assert "KUBE" not in flushed
    assert (told["kind"], told["families"]) == ("full", [4])
    assert node.save(backend) == before


def test_sigterm_ends_it_and_rules_stay(node: Node, start_proxy: Start, write_manifest: Write) -> None:
    """It exits with status 0, leaves no child, and the kernel keeps what was written."""
    path = write_manifest({"web": WEB})
    proxy = start_proxy(node, "--backend", "nft", "--manifest", str(path), *SLOW)
    proxy.report()
    before = node.save("nft")
    children = Path(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children").read_text()
    proxy.process.send_signal(signal.SIGTERM)
    _, problems = proxy.process.communicate(timeout=10)

    assert children.strip() == ""
    assert (proxy.process.returncode, problems) == (0, "")
    assert node.save("nft") == before


def test_changes_within_the_minimum_period_are_taken_together(
    node: Node, start_proxy: Start, write_manifest: Write
) -> None:
    """After a sync the next one waits for minSyncPeriod; what came in between is written at once."""
    path = write_manifest({"web": WEB, "keep": KEEP})
    proxy = start_proxy(node, "--backend", "nft", "--manifest", str(path), "--iptables-min-sync-period", "700ms")
    proxy.report()
    started = time.monotonic()
    for last in range(30, 34):
        path = write_manifest({"web": WEB, "keep": [f"10.244.1.{last}"]})
        os.sched_yield()
    told = proxy.report()

    assert time.monotonic() - started > 0.5
    assert told["manifest_mtime_ns"] == path.stat().st_mtime_ns
    assert "10.244.1.33:8080" in node.save("nft", "nat")
