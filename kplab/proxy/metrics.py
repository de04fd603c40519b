"""What `/metrics` says: those of kube-proxy's metrics that the mode moves, in Prometheus' text format.

Names, labels and buckets are those of pkg/proxy/metrics of v1.36. Not kept: counts of changes by kind of object,
and network_programming_duration, which needs the time at which an API server saw a change.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from kplab.model.cluster import Family
from kplab.modes.nft_objects import NftElement
from kplab.modes.nft_program import NftablesProgram, NftBlock
from kplab.proxy.apply import Order
from kplab.proxy.nfacct import CT_STATE_INVALID_DROPPED, LOCALHOST_NODE_PORTS_ACCEPTED, read_counter
from kplab.proxy.proxier import SyncOutcome, Written

PREFIX = "kubeproxy_"
_SYNC = "sync_proxy_rules"
_FAILURES = {
    "iptables": (f"{_SYNC}_iptables_restore_failures_total", f"{_SYNC}_iptables_partial_restore_failures_total"),
    "nftables": (f"{_SYNC}_nftables_sync_failures_total",),
}
"""By mode: what a failed sync counts, and after it what a failed partial one counts besides."""
_BUCKETS = tuple(0.001 * 2**n for n in range(15))
_FAMILIES: tuple[Family, ...] = (4, 6)

Key = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and labels."""

_COUNTERS = {
    "iptables_ct_state_invalid_dropped_packets_total": CT_STATE_INVALID_DROPPED,
    "iptables_localhost_nodeports_accepted_packets_total": LOCALHOST_NODE_PORTS_ACCEPTED,
}
"""Metrics that are the kernel's own counters."""


class Metrics:
    """Told by the loop, read by a server's thread."""

    def __init__(self, clock: Callable[[], float], mode: str = "iptables") -> None:
        """`clock` is the wall's, in seconds."""
        self._failures = _FAILURES.get(mode, ())
        self._clock = clock
        self._lock = Lock()
        self._values: dict[Key, float] = {}
        self._orders: dict[Family, Written] = {}
        for family in _FAMILIES:
            for name in self._failures:
                self._values[_key(name, family)] = 0.0

    def queued(self, family: Family) -> None:
        """A change waits to be synced."""
        with self._lock:
            self._values[_key(f"{_SYNC}_last_queued_timestamp_seconds", family)] = self._clock()

    def synced(self, outcome: SyncOutcome) -> None:
        """A family was synced, or failed to."""
        family = outcome.family
        with self._lock:
            self._observe(f"{_SYNC}_duration_seconds", family, outcome.seconds)
            self._observe(f"sync_{outcome.kind}_proxy_rules_duration_seconds", family, outcome.seconds)
            if outcome.error is not None:
                for name in self._failures if outcome.kind == "partial" else self._failures[:1]:
                    self._add(_key(name, family), 1)
                return
            self._values[_key(f"{_SYNC}_last_timestamp_seconds", family)] = self._clock()
            if outcome.order is not None:
                self._orders[family] = outcome.order

    def answered(self, server: str, status: int) -> None:
        """The server "healthz" or "livez" has answered."""
        with self._lock:
            self._add((f"proxy_{server}_total", (("code", str(status)),)), 1)

    def forgot(self, family: Family, flows: int) -> None:
        """Stale UDP flows were deleted."""
        with self._lock:
            self._add(_key("conntrack_reconciler_deleted_entries_total", family), flows)

    def text(self) -> str:
        """Return everything in Prometheus' text format."""
        with self._lock:
            values, orders = dict(self._values), dict(self._orders)
        for family, order in orders.items():
            if isinstance(order, Order):
                _count_rules(values, family, order)
            else:
                _count_dropped(values, family, order)
        for name, counter in _COUNTERS.items():
            packets = read_counter(counter)
            if packets is not None:
                values[name, ()] = packets
        lines: list[str] = []
        told = ""
        for (name, labels), value in sorted(values.items(), key=lambda item: (_base(item[0][0]), item[0][1])):
            if _base(name) != told:
                told = _base(name)
                lines.append(f"# TYPE {PREFIX}{told} {_type(told)}")
            shown = ",".join(f'{key}="{text}"' for key, text in labels)
            lines.append(f"{PREFIX}{name}{'{' + shown + '}' if shown else ''} {value:.15g}")
        return "\n".join(lines) + "\n"

    def _observe(self, name: str, family: Family, seconds: float) -> None:
        for bound in (*_BUCKETS, float("inf")):
            le = "+Inf" if bound == float("inf") else f"{bound:g}"
            self._add(_key(f"{name}_bucket", family, ("le", le)), seconds <= bound)
        self._add(_key(f"{name}_sum", family), seconds)
        self._add(_key(f"{name}_count", family), 1)

    def _add(self, key: Key, value: float) -> None:
        self._values[key] = self._values.get(key, 0.0) + value


def _count_rules(values: dict[Key, float], family: Family, order: Order) -> None:
    """Count rules, once someone asks: all of the program's, and those that the last sync wrote."""
    program = order.program
    for table, block in zip(program.tables, program.text(changed=order.changed).split("COMMIT\n"), strict=False):
        labels = (("table", table.name),)
        values[_key(f"{_SYNC}_iptables_total", family, *labels)] = len(table.rules) + len(table.last_rules)
        values[_key(f"{_SYNC}_iptables_last", family, *labels)] = block.count("\n-A ")
    for policy, chain in (("internal", "KUBE-SERVICES"), ("external", "KUBE-EXTERNAL-SERVICES")):
        # A Service that has endpoints, but none here for a policy Local, is refused with DROP.
        without = sum(
            any(r.chain == chain and r.text.endswith("-j DROP") for r in block.filter_rules)
            for block in program.blocks
        )  # fmt: skip
        _count_without(values, family, policy, without)


def _count_dropped(values: dict[Key, float], family: Family, program: NftablesProgram) -> None:
    """Count the service ports that have endpoints, but none here for a policy Local: their traffic is dropped."""
    dropped = [_dropped(block) for block in program.blocks]
    _count_without(values, family, "internal", sum(internal for internal, _ in dropped))
    _count_without(values, family, "external", sum(external for _, external in dropped))


def _dropped(block: NftBlock) -> tuple[bool, bool]:
    """Tell whether traffic to the ClusterIP is dropped, and whether traffic from outside is."""
    view = block.unit[0]
    cluster_ip = ("no-endpoint-services", f"{view.cluster_ip} . {view.protocol} . {view.port}")
    found = {(w.holder, w.key) for w in block.opening if isinstance(w, NftElement) and w.value == "drop"}
    return cluster_ip in found, bool(found - {cluster_ip})


def _count_without(values: dict[Key, float], family: Family, policy: str, without: int) -> None:
    name, labels = f"{_SYNC}_no_local_endpoints_total", (("traffic_policy", policy),)
    values[_key(name, family, *labels)] = without
    values[name, labels] = values.get((name, labels), 0.0) + without


def _key(name: str, family: Family, *labels: tuple[str, str]) -> Key:
    return name, (("ip_family", f"IPv{family}"), *labels)


def _base(name: str) -> str:
    """Return a histogram's own name for its series."""
    for suffix in ("_bucket", "_sum", "_count"):
        if name.endswith(f"seconds{suffix}"):
            return name.removesuffix(suffix)
    return name


def _type(base: str) -> str:
    if base.endswith("duration_seconds"):
        return "histogram"
    gauges = ("timestamp_seconds", "_iptables_total", "_iptables_last", "no_local_endpoints_total")
    return "gauge" if base.endswith(gauges) else "counter"
