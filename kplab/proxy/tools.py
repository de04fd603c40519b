"""Which programs write rules: the two back-ends of iptables, and how one is chosen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from kplab.errors import ApplyError, ProgramError
from kplab.lab.run import Finished, Runner
from kplab.model.cluster import Family

Backend = Literal["nft", "legacy"]

WAIT = ("-w", "5")
"""Wait up to five seconds for the lock of the tables, as kube-proxy does."""

LIMIT = 600.0
"""Seconds that one run may take; kube-proxy's own way of a first sync needs minutes in a large cluster."""

_HINT_CHAINS = ("KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY")


@dataclass(frozen=True, slots=True)
class Tools:
    """One family's programs in one back-end."""

    runner: Runner
    backend: Backend
    family: Family

    @property
    def program(self) -> str:
        """`iptables-nft`, `ip6tables-legacy` and so on."""
        return f"ip{'6' if self.family == 6 else ''}tables-{self.backend}"

    def command(self, *arguments: str, check: bool = False) -> Finished:
        """Run `iptables -w 5 …`; the status tells what came of it (1: no such rule or chain, 4: the lock is held).

        Raises:
            ProgramError: the program is missing, or, with `check`, failed.

        """
        return self.runner.run([self.program, *WAIT, *arguments], check=check, limit=LIMIT)

    def restore(self, text: str) -> Finished:
        """Run `iptables-restore` exactly as kube-proxy does: foreign chains and counters stay.

        Raises:
            ProgramError: it is missing, or refused the text.

        """
        return self.runner.run([f"{self.program}-restore", *WAIT, "--noflush", "--counters"], text, limit=LIMIT)

    def save(self, *tables: str) -> str:
        """Return what `iptables-save` prints: all tables that exist, or one.

        Raises:
            ProgramError: it is missing, or failed.

        """
        chosen = [argument for table in tables for argument in ("-t", table)]
        return self.runner.run([f"{self.program}-save", *chosen], limit=LIMIT).stdout

    def version(self) -> tuple[int, ...]:
        """Return the version of iptables, like (1, 8, 9).

        Raises:
            ProgramError: it is missing, or says something else.

        """
        told = self.runner.run([self.program, "--version"]).stdout
        found = re.search(r"v(\d+)\.(\d+)\.(\d+)", told)
        if not found:
            raise ProgramError(f"read the version of {self.program}", told.strip() or "it printed nothing")
        return tuple(int(part) for part in found.groups())


def ensure_chain(tools: Tools, table: str, chain: str) -> None:
    """Make a chain that may be there already, as kube-proxy does: `-N`, where status 1 counts as success.

    Raises:
        ApplyError: it cannot be made.
        ProgramError: iptables is missing.

    """
    made = tools.command("-N", chain, "-t", table)
    if made.status not in (0, 1):
        raise ApplyError(f"make chain {chain} in table {table}", made.stderr.strip())


def chain_exists(tools: Tools, table: str, chain: str) -> bool:
    """Tell whether a chain is there; where that cannot be told (the lock is held), it is taken to be.

    Raises:
        ProgramError: iptables is missing.

    """
    return tools.command("-S", chain, "-t", table).status != 1


def choose_backend(runner: Runner) -> Backend:
    """Choose as the image of kube-proxy does (kubernetes-sigs/iptables-wrappers), when nobody has said which.

    kubelet leaves a chain in mangle, in the back-end that the host uses; where there is none, nft. A back-end
    whose programs are missing is not asked.
    """
    backends: tuple[Backend, ...] = ("nft", "legacy")
    families: tuple[Family, ...] = (4, 6)
    for backend in backends:
        if any(_has_hint(Tools(runner, backend, family)) for family in families):
            return backend
    return "nft"


def _has_hint(tools: Tools) -> bool:
    try:
        chains = tools.command("-t", "mangle", "-S").stdout.splitlines()
    except ProgramError:
        return False
    return any(f"-N {name}" in chains for name in _HINT_CHAINS)
