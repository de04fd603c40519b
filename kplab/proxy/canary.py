"""Notices that someone flushed the tables: kube-proxy's canary chains.

Follows Monitor of pkg/util/iptables: KUBE-PROXY-CANARY stands in mangle, nat and filter, but only mangle's is
polled, once each syncPeriod. When that one is gone, the others are waited for shortly (so that no reload
meets a flush half way), and everything is written anew. So `iptables -F`, which empties chains and leaves them,
goes unnoticed, and so does a flush of nat alone.
"""

from __future__ import annotations

from typing import Literal

from kplab.errors import LabError
from kplab.proxy.dump import CANARY, CANARY_TABLES
from kplab.proxy.tools import Tools, chain_exists, ensure_chain

OTHERS_POLL = 0.2
"""Seconds between two looks at nat's and filter's canaries once mangle's is gone (`iptablesFlushPollTime`)."""

OTHERS_LIMIT = 5.0
"""Seconds after which they are no longer waited for (`iptablesFlushTimeout`)."""


class Canary:
    """One family's canaries; told the time, so that a test need not wait."""

    def __init__(self, tools: Tools, period: float, *, creates: bool) -> None:
        """Look each `period` seconds. `creates`: make the chains here; else every full sync makes them."""
        self._tools = tools
        self._period = period
        self._creates = creates
        self._state: Literal["missing", "there", "going"] = "missing" if creates else "there"
        self._wake: float | None = None
        self._give_up = 0.0

    @property
    def next_look(self) -> float | None:
        """When `look` has something to do; None: at once."""
        return self._wake

    def look(self, now: float) -> bool:
        """Do what is due at `now`; tell whether the tables were found flushed.

        Raises:
            ProgramError: iptables is missing.

        """
        if self._wake is None and self._state == "there":
            self._wake = now + self._period
        if self._wake is not None and now < self._wake:
            return False
        if self._state == "missing":
            self._create(now)
            return False
        if self._state == "there":
            self._wake = now + self._period
            if chain_exists(self._tools, CANARY_TABLES[0], CANARY):
                return False
            self._state, self._give_up = "going", now + OTHERS_LIMIT
        left = any(chain_exists(self._tools, table, CANARY) for table in CANARY_TABLES[1:])
        if left and now < self._give_up:
            self._wake = now + OTHERS_POLL
            return False
        self._state, self._wake = ("missing", now) if self._creates else ("there", now + self._period)
        return True

    def _create(self, now: float) -> None:
        self._wake = now + self._period
        try:
            for table in CANARY_TABLES:
                ensure_chain(self._tools, table, CANARY)
        except LabError:
            # The next look tries again, as upstream; without canaries only the watching is lost.
            return
        self._state = "there"
