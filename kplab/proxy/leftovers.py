"""What a mode removes of the others when it starts, and what --cleanup removes.

As kube-proxy (platformCleanup of cmd/kube-proxy/app/server_linux.go, v1.36): nftables mode removes what iptables and
ipvs mode left; those two remove nftables mode's tables, and nothing of each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from kplab.errors import KplabError, ProgramError
from kplab.lab.run import Runner
from kplab.model.cluster import Family
from kplab.proxy.cleanup import clean_up
from kplab.proxy.ipvs_cleanup import clean_up_ipvs
from kplab.proxy.nft_tools import remove_tables
from kplab.proxy.tools import Backend, Tools, choose_backend
from kplab.proxy.userspace_rules import clean_up_userspace

FAMILIES: tuple[Family, ...] = (4, 6)
_LEGACY_TABLES = (Path("/proc/net/ip_tables_names"), Path("/proc/net/ip6_tables_names"))


def leave_iptables_and_ipvs(runner: Runner, backend: Backend | None) -> list[str]:
    """Remove what iptables and ipvs mode left, in one back-end; return a line about each part that could not be.

    Programs of iptables run only where there is something of theirs: nftables mode does without them.
    """
    problems = []
    families = _families(runner, backend) if _iptables_in_use(runner) else []
    removals: list[Callable[[], None]] = [lambda: clean_up_ipvs(runner, families), lambda: clean_up(families)]
    for remove in removals:
        try:
            remove()
        except KplabError as error:
            # kube-proxy goes on as well: its own rules do not depend on it.
            problems.append(str(error))
    return problems


def clean_up_all(runner: Runner, backend: Backend | None) -> None:
    """Remove what every mode left, as `kube-proxy --cleanup`.

    Raises:
        LabError: something could not be removed; the rest of it is tried all the same.

    """
    families = _families(runner, backend)
    failed: KplabError | None = None
    removals: list[Callable[[], None]] = [
        lambda: clean_up_ipvs(runner, families), lambda: clean_up(families), lambda: remove_tables(runner),
        lambda: clean_up_userspace(families[0]),
    ]  # fmt: skip
    for remove in removals:
        try:
            remove()
        except KplabError as error:
            failed = failed or error
    if failed:
        raise failed


def _families(runner: Runner, backend: Backend | None) -> list[Tools]:
    chosen = backend or choose_backend(runner)
    return [Tools(runner, chosen, family) for family in FAMILIES]


def _iptables_in_use(runner: Runner) -> bool:
    """Tell whether either back-end may hold chains of kube-proxy's."""
    try:
        listed = json.loads(runner.run(["nft", "-j", "list", "chains"]).stdout)["nftables"]
    except ProgramError:
        return True
    if any(each["chain"]["name"].startswith("KUBE-") for each in listed if "chain" in each):
        return True
    return any(names.exists() and names.read_text().strip() for names in _LEGACY_TABLES)
