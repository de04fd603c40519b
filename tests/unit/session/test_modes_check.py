"""Whether the kernel and its tools have what a mode's rules need: each thing that is lacking is named."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kplab.session.sandbox.check import Check
from kplab.session.sandbox.modes_check import Ask, mode_checks

pytestmark = pytest.mark.unit

NFT = "nftables v1.0.6 (Lester Gooch #5)\n"


def machine(*, nft: str = NFT, refused: str = "", status: int = 0) -> Ask:
    """Return a machine that answers with nft's version, and with the rules that it refuses."""

    def ask(argv: Sequence[str], given: str) -> tuple[int, str]:
        if argv[0] == "nft":
            return 0, nft
        assert argv[0] == "unshare"
        assert "-m statistic" in given
        return status, refused

    return ask


def checked(ask: Ask) -> dict[str, Check]:
    """Return the checks by name."""
    return {check.name: check for check in mode_checks(ask)}


def test_a_kernel_that_takes_every_rule_can_do_both_modes() -> None:
    """The modules are named all the same."""
    found = checked(machine())

    assert all(check.ok for check in found.values())
    assert "xt_statistic" in found["iptables mode"].found
    assert "nft_numgen" in found["nftables mode"].found


def test_a_module_that_is_missing_is_named_with_what_was_said() -> None:
    """Verbatim, with modprobe and a guest as the ways on; the other mode is not blamed."""
    said = "Extension statistic revision 0 not supported, missing kernel module?"
    found = checked(machine(refused=f"xt_statistic\t{said}\n"))

    assert found["nftables mode"].ok
    check = found["iptables mode"]
    assert (check.ok, check.found) == (False, f"refused without xt_statistic: {said}")
    assert check.mend == "modprobe -a xt_statistic, or --sandbox microvm"


def test_nft_numgen_is_nftables_modes_own() -> None:
    """Iptables mode draws with xt_statistic."""
    found = checked(machine(refused="nft_numgen\tError: Could not process rule: No such file or directory\n"))

    assert found["iptables mode"].ok
    assert "nft_numgen: Error: Could not process rule" in found["nftables mode"].found


@pytest.mark.parametrize("told", ["nftables v0.9.8 (E.D.S.)\n", "nftables v1.0.0 (Fearless Fosdick #2)\n", "what?\n"])
def test_an_nft_that_kube_proxy_would_not_take_is_named(told: str) -> None:
    """Its version, the one that is wanted, and the way on."""
    check = checked(machine(nft=told))["nftables mode"]

    assert not check.ok
    assert "1.0.1 or later" in check.found
    assert told.strip() in check.found
    assert "mode iptables" in check.mend


def test_where_no_namespace_can_be_made_nothing_is_known() -> None:
    """It says so, in unshare's own words."""
    check = checked(machine(status=1, refused="unshare: Operation not permitted"))["iptables mode"]

    assert not check.ok
    assert check.found == "no namespace to try it in: unshare: Operation not permitted"
