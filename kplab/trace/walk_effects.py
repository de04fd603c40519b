"""What a matched rule does: its verdict in words, and what it makes of the mark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kplab.model.ruleset import Chain, Target
from kplab.trace.matching import Probe

_VERDICTS = {
    "": "continue", "ACCEPT": "accept", "DROP": "drop", "RETURN": "return", "REJECT": "reject", "DNAT": "accept",
    "SNAT": "accept", "MASQUERADE": "accept", "REDIRECT": "accept", "NETMAP": "accept", "QUEUE": "queue",
    "NFQUEUE": "queue", "MARK": "continue", "CONNMARK": "continue", "LOG": "continue", "NFLOG": "continue",
    "TRACE": "continue", "CT": "continue", "NOTRACK": "continue", "TCPMSS": "continue", "SET": "continue",
    "CHECKSUM": "continue", "CLASSIFY": "continue", "TOS": "continue", "DSCP": "continue", "TTL": "continue",
    "HL": "continue", "ULOG": "continue", "AUDIT": "continue", "TEE": "continue", "SYNPROXY": "drop",
}  # fmt: skip
"""iptables-extensions(8): which targets end a packet's way through a table, and how."""

_STANDARD = frozenset({"ACCEPT", "DROP", "RETURN"})
"""Targets whose outcome cannot be anything but their name."""

FINAL = frozenset({"accept", "drop", "reject", "queue", "stolen"})
"""Verdicts after which the table is left."""

_ALL = 0xFFFFFFFF


def verdict_of(target: Target, chains: Mapping[str, Chain]) -> str | None:
    """Return a target's verdict: "jump X", "goto X", "accept", …; None for a target that we have no model of."""
    if target.name in chains:
        return f"{'goto' if target.goto else 'jump'} {target.name}"
    return _VERDICTS.get(target.name)


def is_exact(target: Target, chains: Mapping[str, Chain]) -> bool:
    """Say whether the kernel can do nothing else with this target than what `verdict_of` says."""
    return target.name in _STANDARD or target.name in chains or target.name == ""


def apply(target: Target, probe: Probe) -> Probe:
    """Return the packet after a matched rule: only MARK and CONNMARK change what later rules may ask."""
    if target.name not in ("MARK", "CONNMARK"):
        return probe
    try:
        if target.name == "CONNMARK":
            return _connmark(target, probe)
        return replace(probe, mark=_set(target, probe.mark)) if probe.mark_known else _marked_anew(target, probe)
    except ValueError:  # a number that we cannot read, in rules that no kernel printed
        return replace(probe, mark_known=False, ct_mark=None)


def _marked_anew(target: Target, probe: Probe) -> Probe:
    """Set an unknown mark: with a full mask it is known again."""
    if target.option("set-xmark") is None or _number(target, "set-xmark")[1] != _ALL:
        return probe
    return replace(probe, mark=_set(target, 0), mark_known=True)


def _number(target: Target, option: str) -> tuple[int, int]:
    """Read an option "0x4000/0x4000"; without a mask, all bits."""
    value, slash, mask = (target.option(option) or "").partition("/")
    return int(value, 0), int(mask, 0) if slash else _ALL


def _set(target: Target, mark: int) -> int:
    """Change a mark as --set-xmark V/M, (mark & ~M) ^ V, and its relatives do (net/netfilter/xt_mark.c)."""
    for name, _ in target.options:
        if name not in ("set-xmark", "set-mark", "or-mark", "and-mark", "xor-mark"):
            continue
        value, mask = _number(target, name)
        if name == "set-xmark":
            return (mark & ~mask & _ALL) ^ value
        if name == "set-mark":
            return (mark & ~mask & _ALL) | value
        return {"or-mark": mark | value, "and-mark": mark & value, "xor-mark": mark ^ value}[name]
    return mark


def _connmark(target: Target, probe: Probe) -> Probe:
    """Save the mark in the conntrack entry, restore it from there, or set the entry's (xt_connmark.c)."""
    names = {name for name, _ in target.options}
    nfmask = _number(target, "nfmask")[0] if "nfmask" in names else _ALL
    ctmask = _number(target, "ctmask")[0] if "ctmask" in names else _ALL
    if "mask" in names:
        nfmask = ctmask = _number(target, "mask")[0]
    if "restore-mark" in names:
        if probe.ct_mark is None:
            return replace(probe, mark_known=False)
        return replace(probe, mark=(probe.mark & ~nfmask & _ALL) ^ (probe.ct_mark & ctmask))
    if "save-mark" in names:
        if not probe.mark_known or (probe.ct_mark is None and ctmask != _ALL):
            return replace(probe, ct_mark=None)
        return replace(probe, ct_mark=((probe.ct_mark or 0) & ~ctmask & _ALL) ^ (probe.mark & nfmask))
    if probe.ct_mark is None and ("set-xmark" not in names or _number(target, "set-xmark")[1] != _ALL):
        return probe
    return replace(probe, ct_mark=_set(target, probe.ct_mark or 0))
