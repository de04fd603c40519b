"""What can come of asking a match about a packet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Met:
    """It holds."""


@dataclass(frozen=True, slots=True)
class Unmet:
    """It does not hold; `reason` names what the packet has and what the rule wants."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknowable:
    """It cannot be told from what we have; `reason` says why."""

    reason: str
    missed: str = ""
    """What to say when the kernel's trace shows that it did not hold; "" for a general sentence."""


Outcome = Met | Unmet | Unknowable

MET = Met()
"""The one value of `Met`."""
