"""The same packet through several modes, a lab each: run, and shown as a table with a chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

from kplab.errors import KplabError, UsageError
from kplab.jupyter.charts import comparison_bars
from kplab.jupyter.installed import require
from kplab.jupyter.shown import JourneyView
from kplab.model.packet import SendSpec
from kplab.model.synthetic import MOST_SERVICES
from kplab.modes.registry import known_modes
from kplab.session.base import LabPlan
from kplab.session.comparing import sized_cluster, timed_column
from kplab.session.live import start_lab
from kplab.session.runs import Doing, Runs
from kplab.trace.compare import Column, Comparison, LeftOut, Point, clock_of, name_of
from kplab.trace.compare_svg import comparison_svg
from kplab.trace.compare_text import comparison_lines

if TYPE_CHECKING:
    from pandas import DataFrame

_LOOK = "font-family:monospace;font-size:85%;white-space:pre;overflow-x:auto"
_LABELS = {
    "sandbox": "sandbox",
    "first_rules": "first packet: rules tried",
    "first_lookups": "first packet: maps and sets asked",
    "rules_tried": "all packets: rules tried",
    "lookups": "all packets: maps and sets asked",
    "packets": "packets",
    "conntrack_entries": "conntrack entries made",
    "ipvs_entries": "IPVS entries made",
    "left_kernel": "left the kernel, times",
    "delivered_to": "delivered to",
    "median_us": "first packet on the wire: median, µs",
    "low_us": "a quarter took less, µs",
    "high_us": "a quarter took more, µs",
    "from_call_us": "from connect() on: median, µs",
}
"""What a row of the table is called."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be compared."""

    spec: SendSpec
    asked: str
    sender: str
    plans: tuple[LabPlan, ...]
    rounds: int
    sizes: tuple[int, ...]
    limit: float
    """Seconds that one mode may take, at one size."""


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """What `lab.compare` returns: numbers side by side, and each mode's journey."""

    comparison: Comparison
    """As `kplab compare --format json` writes it."""
    journeys: dict[str, JourneyView]
    """By the column's name: "iptables-nft", "nftables", …"""

    def to_frame(self) -> DataFrame:
        """Return one row a mode, in pandas. Raises NotInstalledError without it."""
        return _frame([_row(each) for each in self.comparison.columns])

    def sizes_frame(self) -> DataFrame:
        """Return one row a mode and size of the cluster, in pandas. Raises NotInstalledError without it."""
        return _frame([{"services": each.services, **_row(each.column)} for each in self.comparison.sizes])

    def svg(self) -> str:
        """Return the chart: by mode, or with sizes by the number of Services."""
        return comparison_svg(self.comparison) if self.comparison.sizes else comparison_bars(self.comparison)

    def __repr__(self) -> str:
        return "\n".join(comparison_lines(self.comparison))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        words = f'<details><summary>in words</summary><pre style="{_LOOK}">{escape(repr(self))}</pre></details>'
        return {
            "text/html": f"<div>{self.svg()}{_table(self.comparison)}{words}</div>",
            "image/svg+xml": self.svg(),
            "text/plain": repr(self),
        }


def _table(comparison: Comparison) -> str:
    """A column a mode, as on the command line; below it what could not be compared, and why."""
    rows = [_row(each) for each in comparison.columns]
    head = "".join(f"<th>{escape(str(row['name']))}</th>" for row in rows)
    body = "".join(
        f'<tr><th style="text-align:left">{escape(label)}</th>'
        + "".join(f"<td>{escape(_cell(row[field]))}</td>" for row in rows)
        + "</tr>"
        for field, label in _LABELS.items()
    )
    left_out = "".join(f"<p>left out: {escape(each.name)}: {escape(each.reason)}</p>" for each in comparison.left_out)
    clocks = {clock_of(each.sandbox) for each in comparison.columns}
    warning = "<p>Sandboxes differ, and so do their clocks: never divide the times of one by another's.</p>"
    table = f"<table><tr><th></th>{head}</tr>{body}</table>" if rows else ""
    return table + (warning if len(clocks) > 1 else "") + left_out


def _cell(value: object) -> str:
    return "–" if value is None or value == "" else str(value)


def _frame(rows: list[dict[str, object]]) -> DataFrame:
    require("make a table of a comparison", "pandas")
    from pandas import DataFrame

    return DataFrame(rows)


def _row(one: Column) -> dict[str, object]:
    time = one.first_packet
    return {
        "name": one.name, "sandbox": one.sandbox, "packets": one.packets, "hops": one.hops,
        "first_rules": one.first_rules, "first_lookups": one.first_lookups, "rules_tried": one.rules_tried,
        "lookups": one.lookups, "conntrack_entries": one.conntrack_entries, "ipvs_entries": one.ipvs_entries,
        "left_kernel": one.left_kernel, "delivered_to": one.delivered_to,
        "median_us": time.median_us if time else None, "low_us": time.low_us if time else None,
        "high_us": time.high_us if time else None,
        "from_call_us": time.from_call_us if time else None,
    }  # fmt: skip


def plans_for(modes: Sequence[str], own: LabPlan) -> tuple[LabPlan, ...]:
    """Return a plan for each mode, of the same cluster; "iptables-legacy" names the back-end too.

    Raises:
        UsageError: there is no such mode.
    """
    found = []
    for name in modes or known_modes():
        mode, _, backend = name.partition("-")
        if mode not in known_modes() or backend not in ("", "nft", "legacy"):
            known = f"Modes: {', '.join(known_modes())}, iptables-legacy"
            raise UsageError(f"compare {name!r}", "there is no such proxy mode", known)
        found.append(replace(own, mode=mode, backend="legacy" if backend == "legacy" else "nft"))
    return tuple(found)


def compare(wanted: Wanted, doing: Doing) -> ComparisonView:
    """Build the labs one after the other, send, time, and end them; what cannot run here is left out, with why.

    `doing` is told what is being done. A mode that failed at one size is not asked of a larger one.

    Raises:
        UsageError: a size cannot be made.
    """
    if not all(0 < size <= MOST_SERVICES for size in wanted.sizes):
        raise UsageError(f"compare in clusters of {wanted.sizes} Services", "", f"From 1 to {MOST_SERVICES}")
    runs = Runs(wanted.limit, start_lab)
    columns: list[Column] = []
    left_out: list[LeftOut] = []
    journeys: dict[str, JourneyView] = {}
    for plan in wanted.plans:
        name = name_of(plan.mode, plan.backend)
        found = _column(plan, wanted.spec, wanted, runs, _about(name, doing))
        if isinstance(found, str):
            left_out.append(LeftOut(name, found))
        else:
            columns.append(found[0])
            journeys[name] = found[1]
    sizes: list[Point] = []
    stood = [plan for plan in wanted.plans if name_of(plan.mode, plan.backend) in journeys]
    for services, plan, spec in _sized(stood, wanted.sizes):
        name = f"{name_of(plan.mode, plan.backend)} with {services} Services"
        found = _column(plan, spec, wanted, runs, _about(name, doing))
        if isinstance(found, str):
            left_out.append(LeftOut(name, found))
            stood.remove(next(each for each in stood if (each.mode, each.backend) == (plan.mode, plan.backend)))
        else:
            sizes.append(Point(services=services, column=found[0]))
    comparison = Comparison(
        packet=wanted.asked,
        sender=wanted.sender,
        columns=tuple(columns),
        left_out=tuple(left_out),
        sizes=tuple(sizes),
    )
    return ComparisonView(comparison, journeys)


def _about(name: str, doing: Doing) -> Doing:
    return lambda text: doing(f"{name}: {text}")


def _sized(plans: Sequence[LabPlan], sizes: Sequence[int]) -> Iterator[tuple[int, LabPlan, SendSpec]]:
    """Yield each mode in ever larger clusters, and a connection to the last Service of their list."""
    for services in sizes:
        manifest, spec = sized_cluster(services)
        for plan in tuple(plans):
            yield services, replace(plan, manifest=manifest), spec


def _column(
    plan: LabPlan, spec: SendSpec, wanted: Wanted, runs: Runs, doing: Doing
) -> tuple[Column, JourneyView] | str:
    """Return what one lab saw; or why it saw nothing."""
    try:
        with runs.lab(plan, spec, wanted.sender, doing) as ran:
            return timed_column(ran, wanted.sender, wanted.rounds), JourneyView(ran.journey, ran.recording)
    except KplabError as error:
        return str(error).replace("--limit SECONDS", "limit=SECONDS")
