"""Counts of answers, and a comparison's picture."""

from __future__ import annotations

import math
import random
import xml.etree.ElementTree as Xml

import pytest

from kplab.errors import UsageError
from kplab.jupyter.answers import Answers, upper_tail
from kplab.jupyter.charts import comparison_bars
from kplab.jupyter.comparing import ComparisonView, plans_for
from kplab.modes.registry import known_modes
from kplab.session.base import LabPlan
from kplab.trace.compare import Column, Comparison, LeftOut, Timing

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("statistic", "degrees", "p"),
    [(3.841, 1, 0.05), (5.991, 2, 0.05), (7.815, 3, 0.05), (18.307, 10, 0.05), (6.635, 1, 0.01), (0.0, 4, 1.0)],
)
def test_the_upper_tail_is_that_of_the_tables(statistic: float, degrees: int, p: float) -> None:
    """Critical values of chi-square as printed in tables of statistics."""
    assert upper_tail(statistic, degrees) == pytest.approx(p, abs=2e-4)


def test_fair_answers_are_explained_by_chance_and_unfair_ones_are_not() -> None:
    """A draw of a thousand among three is not refused; half for one of them is, unless it was expected."""
    rng = random.Random(7)  # noqa: S311 - the same draws every time
    fair = Answers("x", tuple(rng.choices(["a", "b", "c"], k=1000)), asked=1000)
    unfair = Answers("x", tuple(rng.choices(["a", "b", "c"], weights=[2, 1, 1], k=1000)), asked=1000)

    assert fair.chi_square().p > 0.001
    assert unfair.chi_square().p < 1e-6
    assert unfair.chi_square({"a": 0.5, "b": 0.25, "c": 0.25}).p > 0.001
    assert fair.chi_square({"a": 0.5, "b": 0.5}).p == 0
    with pytest.raises(ValueError, match="sum to 1"):
        fair.chi_square({"a": 0.5, "b": 0.2})


def test_answers_are_counted_in_order() -> None:
    """Counts by name, and the share of one after each answer."""
    answers = Answers("x", ("b", "a", "b"), {"timed out": 1}, 4)

    assert answers.counts == {"a": 1, "b": 2}
    assert answers.running_share("b") == [1, 0.5, pytest.approx(2 / 3)]
    assert "3 of 4 connections answered" in repr(answers)
    assert "1 failed: timed out" in repr(answers)


def column(name: str, sandbox: str, median: float | None) -> Column:
    """A mode's column with this median."""
    return Column(
        name=name, mode=name, backend="nft", sandbox=sandbox, packets=10, hops=100, kernel="6.18", first_rules=33,
        first_lookups=2, rules_tried=80, lookups=2, translations=(), conntrack_entries=1, ipvs_entries=0, left_kernel=0,
        delivered_to="web-1", outcome="", complete=True,
        first_packet=None if median is None else Timing(100, median, median / 2, median * 2),
    )  # fmt: skip


def test_times_of_different_clocks_stand_in_different_panels() -> None:
    """One panel of times for each kind of sandbox; a mode without a time stands in none."""
    columns = (column("iptables", "namespaces", 10), column("ebpf", "namespaces, as root", 4),
               column("ipvs", "microvm-tcg", 500), column("userspace", "namespaces", None))  # fmt: skip
    svg = comparison_bars(Comparison(packet="x", sender="client", columns=columns))

    Xml.fromstring(svg)  # noqa: S314 - our own
    assert "microseconds, in namespaces<" in svg
    assert "microseconds, in microvm-tcg<" in svg
    assert svg.count("<circle") == 3


def test_a_comparison_without_columns_is_still_a_picture() -> None:
    """Where no mode could run, the table says why and the chart is empty."""
    shown = ComparisonView(Comparison(packet="x", sender="c", columns=(), left_out=(LeftOut("ipvs", "no QEMU"),)), {})

    Xml.fromstring(shown.svg())  # noqa: S314 - our own
    for form in ("text/plain", "text/html"):
        assert "no QEMU" in shown._repr_mimebundle_()[form]


def test_a_comparison_is_a_table_with_a_column_a_mode() -> None:
    """Each mode's numbers stand under its name; what was not measured is a dash."""
    columns = (column("iptables", "namespaces", 10), column("ipvs", "microvm-tcg", None))
    html = ComparisonView(Comparison(packet="x", sender="c", columns=columns), {})._repr_mimebundle_()["text/html"]

    assert "<th>iptables</th><th>ipvs</th>" in html
    assert "median, µs</th><td>10</td><td>–</td>" in html
    assert "never divide" in html


def test_plans_are_of_the_same_cluster() -> None:
    """Every known mode where none is named; iptables-legacy names a back-end; others are refused."""
    own = LabPlan(manifest="m", mode="iptables", config="c")

    assert [plan.mode for plan in plans_for((), own)] == list(known_modes())
    plans = plans_for(["iptables", "iptables-legacy", "ebpf"], own)
    assert [(plan.mode, plan.backend) for plan in plans] == [
        ("iptables", "nft"),
        ("iptables", "legacy"),
        ("ebpf", "nft"),
    ]
    assert {(plan.manifest, plan.config) for plan in plans} == {("m", "c")}
    with pytest.raises(UsageError, match="fastest"):
        plans_for(["fastest"], own)


def test_a_large_statistic_does_not_overflow() -> None:
    """The tail of an absurd statistic is 0, not an error."""
    assert upper_tail(1e5, 9) == 0
    assert math.isfinite(upper_tail(1e3, 2))
