"""The IPVS compiler against what the real kube-proxy v1.36.2 left in the kernel, scenario by scenario, step by step."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kplab.model.cluster import Family
from kplab.model.config import ProxyConfig, parse_config
from kplab.model.loader import load_cluster
from kplab.modes.facts import NodeFacts
from kplab.modes.ipvs import compile_ipvs
from kplab.modes.ipvs_program import IpvsProgram, VirtualServer
from kplab.modes.ipvs_sysctls import ipvs_sysctls, ipvs_timeouts
from kplab.rules.ipset_save import parse_ipset_save
from kplab.rules.ipvsadm import HeldServer, parse_list, parse_save

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
FAMILIES: tuple[Family, ...] = (4, 6)
RESTORE = {4: "iptables-restore", 6: "ip6tables-restore"}
SAVE = {4: "iptables-save", 6: "ip6tables-save"}
NODE = "node-a"
FACTS = NodeFacts(addresses=("127.0.0.1", "192.168.50.10", "::1", "fd00:192:168:50::10"))
BASE: dict[str, Any] = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "mode": "ipvs",
    "clusterCIDR": "10.244.0.0/16",
    "detectLocalMode": "ClusterCIDR",
    "hostnameOverride": NODE,
    "bindAddress": "0.0.0.0",
}
CASES = sorted((path.parent.name, path.stem) for path in GOLDEN.glob("*/*.yaml"))
FREE_ORDER = {"KUBE-IPVS-OUT-FILTER"}
"""Chains in which the order among Services means nothing."""


def config_of(scenario: str) -> ProxyConfig:
    """The configuration that a scenario ran with: the base, and what its config.json changes."""
    path = GOLDEN / scenario / "config.json"
    changes = json.loads(path.read_text()) if path.exists() else {}
    merged = {**BASE, **{name: value for name, value in changes.items() if not name.startswith("_")}}
    return parse_config(json.dumps(merged), f"{scenario}/config.json")


def compiled(scenario: str, stem: str, family: Family) -> IpvsProgram:
    """What we write for one state of a scenario."""
    cluster = load_cluster(GOLDEN / scenario / f"{stem}.yaml")
    return compile_ipvs(cluster, config_of(scenario), NODE, family, FACTS)


def both(scenario: str, stem: str) -> list[IpvsProgram]:
    """Both families' programs."""
    return [compiled(scenario, stem, family) for family in FAMILIES]


def golden(scenario: str, stem: str, suffix: str) -> str:
    """One file of a scenario's step."""
    part = "" if stem == "manifest" else f".{stem}"
    return (GOLDEN / scenario / f"ipvs{part}.{suffix}").read_text()


def servers(text: str) -> dict[str, list[str]]:
    """`ipvsadm -S -n` without the order that means nothing: a service's line, and those of its real servers."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key = " ".join(line.split()[1:3])
        found.setdefault(key, []).append(line)
    return {key: sorted(lines) for key, lines in found.items()}


def restores(scenario: str, stem: str, family: Family) -> Iterator[str]:
    """The texts that the real kube-proxy gave to iptables-restore in a step."""
    for piece in re.split(r"^\$ ", golden(scenario, stem, "writes"), flags=re.MULTILINE)[1:]:
        command, _, given = piece.partition("\n")
        if command.split()[0] == RESTORE[family]:
            yield given


def ordered(text: str) -> str:
    """A restore text in which the lines of chains without an order are sorted."""
    lines = text.splitlines()
    free = [at for at, line in enumerate(lines) if line.startswith("-A ") and line.split()[1] in FREE_ORDER]
    for at, line in zip(free, sorted(lines[at] for at in free), strict=True):
        lines[at] = line
    return "\n".join(lines)


@pytest.mark.parametrize(("scenario", "stem"), CASES)
def test_virtual_servers_are_kube_proxys(scenario: str, stem: str) -> None:
    """`ipvsadm -R` is given what `ipvsadm -S` printed, real servers, schedulers and persistence included."""
    ours = "".join(program.ipvsadm_text() for program in both(scenario, stem))
    assert servers(ours) == servers(golden(scenario, stem, "ipvsadm-save"))


@pytest.mark.parametrize(("scenario", "stem"), CASES)
def test_ipsets_are_kube_proxys(scenario: str, stem: str) -> None:
    """The same seventeen sets a family, with the same types, options and members."""
    ours = "".join(program.ipset_text() for program in both(scenario, stem))
    theirs = golden(scenario, stem, "ipset")
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())
    assert len(parse_ipset_save(ours)) == 34


@pytest.mark.parametrize(("scenario", "stem"), CASES)
def test_addresses_are_kube_proxys(scenario: str, stem: str) -> None:
    """kube-ipvs0 holds the same addresses, each alone in its network."""
    theirs = re.findall(r"inet6? (\S+) scope global", golden(scenario, stem, "addr"))
    ours = re.findall(r"address add (\S+) dev kube-ipvs0", "".join(p.address_text() for p in both(scenario, stem)))
    assert sorted(ours) == sorted(theirs)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("scenario", "stem"), CASES)
def test_the_last_restore_of_a_step_is_ours(scenario: str, stem: str, family: Family) -> None:
    """What kube-proxy gave to iptables-restore, byte for byte but for the order among Services."""
    written = list(restores(scenario, stem, family))
    if not written:
        # Only a family whose objects changed is synced.
        assert compiled(scenario, stem, family).rules == compiled(scenario, before(stem), family).rules
    else:
        assert ordered(compiled(scenario, stem, family).rules.text()) == ordered(written[-1])


def before(stem: str) -> str:
    """The state before a step; every family is synced in the first."""
    number = int(stem.removeprefix("step"))
    return "manifest" if number == 2 else f"step{number - 1}"


@pytest.mark.parametrize("scenario", sorted({scenario for scenario, _ in CASES}))
def test_jumps_are_ensured_in_kube_proxys_order(scenario: str) -> None:
    """Each family's `iptables -C` commands are our jumps, in the same order."""
    for family in FAMILIES:
        name = RESTORE[family].removesuffix("-restore")
        text = golden(scenario, "manifest", "writes")
        checks = re.findall(rf"^\$ ({name} -w 5 -C .*)$", text, flags=re.MULTILINE)
        jumps = compiled(scenario, "manifest", family).rules.jumps
        ours = [" ".join([name, "-w 5 -C", j.source, "-t", j.table, *j.arguments, "-j", j.target]) for j in jumps]
        assert list(dict.fromkeys(checks)) == ours


@pytest.mark.parametrize(("scenario", "stem"), CASES)
def test_the_kernels_chains_and_jumps_are_ours(scenario: str, stem: str) -> None:
    """iptables-save holds our chains with as many rules each, and our jumps, the last ensured first."""
    for program in both(scenario, stem):
        text = golden(scenario, stem, SAVE[program.family])
        for table in program.rules.tables:
            part = text.split(f"*{table.name}\n")[1].split("COMMIT")[0]
            chains = re.findall(r"^:(\S+) -", part, flags=re.MULTILINE)
            assert sorted(chains) == sorted(chain.name for chain in table.chains)
            for name in chains:
                held = re.findall(rf"^-A {name} ", part, flags=re.MULTILINE)
                assert len(held) == len([rule for rule in table.rules if rule.chain == name])
            for source in ("INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"):
                held = re.findall(rf"^-A {source} .* -j (\S+)$", part, flags=re.MULTILINE)
                ensured = [j.target for j in program.rules.jumps if (j.table, j.source) == (table.name, source)]
                assert held == ensured[::-1]


@pytest.mark.parametrize(("scenario", "stem"), CASES)
def test_sysctls_and_timeouts_are_kube_proxys(scenario: str, stem: str) -> None:
    """What we set is what was read after the sync; the guest's kernel was 6.1."""
    held = dict(line.split(" = ") for line in golden(scenario, stem, "sysctl").splitlines())
    wanted = ipvs_sysctls(config_of(scenario), (6, 1))
    assert {name.replace("/", "."): str(value) for name, value in wanted.items()}.items() <= held.items()
    seconds = golden(scenario, stem, "ipvs-timeout").split(": ")[1].split()
    ours = ipvs_timeouts(config_of(scenario)) or (900, 120, 300)
    assert [str(value) for value in ours] == seconds


@pytest.mark.parametrize(("scenario", "stem"), CASES)
def test_listings_are_read_as_what_was_compiled(scenario: str, stem: str) -> None:
    """`ipvsadm -S -n` and `-L -n` are read back as the same virtual servers (the goldens' -L has other columns)."""
    text = golden(scenario, stem, "ipvsadm-save")
    read = {(server.protocol, server.address, server.port): server for server in parse_save(text)}
    ours = {server.key: server for program in both(scenario, stem) for server in program.servers}
    assert read.keys() == ours.keys()
    for key, server in ours.items():
        assert as_held(server) == sorted_reals(read[key])


def as_held(server: VirtualServer) -> HeldServer:
    """A compiled virtual server as the kernel would hold it, read by way of the listing's text."""
    lines = [f"{server.key.protocol}  {server.key.text} {server.scheduler}"]
    lines[0] += f" persistent {server.persistent}" if server.persistent else ""
    lines += [f"  -> {real.text} Masq {real.weight} 0 0" for real in server.reals]
    return sorted_reals(parse_list("\n".join(lines))[0])


def sorted_reals(server: HeldServer) -> HeldServer:
    """The order of real servers means nothing."""
    reals = tuple(sorted(server.reals, key=lambda real: (real.address, real.port)))
    return HeldServer(
        server.protocol, server.address, server.port, server.scheduler, server.persistent, server.flags, reals
    )


def test_every_scenario_and_step_is_compared() -> None:
    """No state is left out in silence: each has all of IPVS mode's files."""
    assert len({scenario for scenario, _ in CASES}) == 48
    assert len(CASES) == 56
    suffixes = ("ipvsadm-save", "ipset", "addr", "writes", "sysctl", "ipvs-timeout", *SAVE.values())
    parts = [(scenario, "" if stem == "manifest" else f".{stem}") for scenario, stem in CASES]
    files = [GOLDEN / scenario / f"ipvs{part}.{suffix}" for scenario, part in parts for suffix in suffixes]
    assert [file for file in files if not file.exists()] == []
