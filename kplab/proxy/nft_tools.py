"""nft, as the proxy runs it: one transaction a run, and a few listings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kplab.errors import ApplyError, ProgramError
from kplab.lab.run import Runner
from kplab.model.cluster import Family
from kplab.modes.nft_objects import TABLE, table_words
from kplab.modes.nft_version import UPGRADE, too_old
from kplab.proxy.tools import LIMIT

TOO_LONG = "Message too long"

Listed = list[dict[str, Any]]
"""What `nft -j list …` prints, without its first object: {"chain": {…}}, {"map": {…}} and so on."""


@dataclass(frozen=True, slots=True)
class NftTools:
    """One family's nft."""

    runner: Runner
    family: Family

    @property
    def table(self) -> str:
        """Family and name of kube-proxy's table: "ip kube-proxy"."""
        return table_words(self.family)

    def write(self, text: str) -> None:
        """Write one transaction: all of it, or nothing.

        Raises:
            ApplyError: nft or the kernel refused it.
            ProgramError: nft is missing.

        """
        try:
            self.runner.run(["nft", "-f", "-"], text, limit=LIMIT)
        except ProgramError as error:
            if error.status == 127:
                raise
            raise ApplyError(f"write table {self.table} with nft -f", error.happened) from error

    def chains(self) -> frozenset[str] | None:
        """Return the chains of the table; None where there is no such table.

        Raises:
            ProgramError: nft is missing, or failed.

        """
        objects = _objects(self.runner, "chains", self.table.partition(" ")[0])
        return frozenset(found) if (found := _own(objects, "chain")) else None

    def listed(self, what: str) -> Listed:
        """Return all "sets" or "maps" of the table, with their elements.

        Raises:
            ProgramError: nft is missing, or failed.

        """
        objects = _objects(self.runner, what, self.table.partition(" ")[0])
        return [each for each in objects for body in each.values() if body.get("table") == TABLE]


def require_nft(runner: Runner) -> None:
    """Insist on an nft that kube-proxy would take.

    Raises:
        ProgramError: nft is missing, or too old.

    """
    wrong = too_old(runner.run(["nft", "--version"]).stdout)
    if wrong:
        raise ProgramError("use nft", wrong, UPGRADE)


def remove_tables(runner: Runner) -> None:
    """Remove what nftables mode left, both families; nothing to do where nft is missing or its tables are.

    Adding a table before deleting it makes it one run that cannot fail for want of the table.
    """
    families: tuple[Family, ...] = (4, 6)
    names = [table_words(family) for family in families]
    text = "".join(f"add table {name}\ndelete table {name}\n" for name in names)
    try:
        runner.run(["nft", "-f", "-"], text, check=False)
    except ProgramError:
        # No nft, no tables of its making that we could remove: kube-proxy goes on, too.
        return


def _objects(runner: Runner, what: str, family: str) -> Listed:
    listed = json.loads(runner.run(["nft", "-j", "list", what, family], limit=LIMIT).stdout or '{"nftables": []}')
    return [each for each in listed["nftables"] if "metainfo" not in each]


def _own(objects: Listed, kind: str) -> list[str]:
    return [each[kind]["name"] for each in objects if kind in each and each[kind]["table"] == TABLE]
