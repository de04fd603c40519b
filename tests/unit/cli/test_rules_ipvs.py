"""`kplab rules --mode ipvs`: what a shell would be given, in the order in which it works."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.cli.rules import rules

pytestmark = pytest.mark.unit

CLUSTER = Path(__file__).parents[3] / "lessons" / "cluster.yaml"


def test_all_four_parts_are_printed_for_both_families(capsys: pytest.CaptureFixture[str]) -> None:
    """Addresses, virtual servers, ipsets, rules: sets come before the rules that name them."""
    rules(CLUSTER, mode="ipvs", node="node-a", config=None, cluster_cidr=None)
    told = capsys.readouterr().out

    for program in ("ip -batch -", "ipvsadm -R", "ipset restore -exist"):
        assert f"{program} <<'EOF'\n" in told
    assert told.index("-A -t 10.96.0.42:80 -s rr\n") < told.index("-a -t 10.96.0.42:80 -r 10.244.1.10:8080 -m -w 1\n")
    assert told.index("\ncreate KUBE-CLUSTER-IP ") < told.index("\niptables-restore -w 5 --noflush --counters")
    assert "\ncreate KUBE-6-CLUSTER-IP " in told
    assert "\nip6tables-restore -w 5 --noflush --counters" in told
