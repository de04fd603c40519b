"""A journey as a table: one row a hop, in pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kplab.jupyter.installed import require
from kplab.model.journey import Hop

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pandas import DataFrame

COLUMNS = (
    "n", "packet", "direction", "node", "kind", "hook", "table", "chain", "rule_number", "tried", "skipped", "verdict",
    "src_before", "dst_before", "src_after", "dst_after", "mark", "evidence", "rule", "text",
)  # fmt: skip


def frame_of(hops: Iterable[Hop]) -> DataFrame:
    """Return one row a hop. `skipped` counts the rules that the hop passed over; `mark` is the one after it.

    Raises:
        NotInstalledError: pandas is not there.
    """
    require("make a table of a journey", "pandas")
    from pandas import DataFrame

    return DataFrame([_row(hop) for hop in hops], columns=list(COLUMNS))


def _row(hop: Hop) -> tuple[object, ...]:
    before, after = hop.before, hop.after
    return (
        hop.n, hop.packet, hop.direction, hop.node, hop.kind, hop.hook, hop.table, hop.chain, hop.rule_number,
        hop.tried, len(hop.skipped), hop.verdict, before.src, before.dst, after.src, after.dst, after.mark,
        hop.evidence, hop.rule, hop.text,
    )  # fmt: skip
