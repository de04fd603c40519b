"""Trace messages -> the hits that a walk follows: handles become rule numbers."""

from __future__ import annotations

from kplab.model.ruleset import Ruleset
from kplab.trace.events import LegacyTrace, NftTrace
from kplab.trace.walk_types import Hit, HitKind


def hit_of(message: NftTrace | LegacyTrace, ruleset: Ruleset) -> Hit:
    """Resolve one message against the ruleset of its node, family and back-end; never fails.

    A handle that the ruleset does not hold (the rule was made after it was read) stays in the hit without a
    number, and the walk calls it a disagreement.
    """
    if isinstance(message, LegacyTrace):
        return Hit(message.chain, message.number, message.kind, "", message.mark)
    kind: HitKind = message.kind
    number = None
    if message.handle is not None:
        chain = ruleset.chain(message.table, message.chain)
        rule = chain.by_handle(message.handle) if chain else None
        number, kind = (rule.number if rule else None), "rule"
    elif kind == "rule" and message.verdict == "continue":
        kind = "return"
    return Hit(message.chain, number, kind, message.verdict, message.mark, message.handle)
