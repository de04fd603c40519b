"""What nftables mode cuts, reads back and sends: transactions in pieces, listings, deletions; without a kernel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from kplab.errors import ApplyError, ProgramError
from kplab.lab.run import Expect, Finished, ScriptedRunner
from kplab.model.loader import parse_cluster
from kplab.model.proxy_config import ProxyConfig
from kplab.modes.facts import NodeFacts
from kplab.proxy.nft_held import held_in, read_held
from kplab.proxy.nft_pieces import halves, in_pieces, message_bytes
from kplab.proxy.nft_tools import NftTools, require_nft
from kplab.proxy.nft_writer import NftWriter

pytestmark = pytest.mark.unit

T = "ip kube-proxy"
BASE = [
    f"add chain {T} nat-output {{ type nat hook output priority -100 ; }}",
    f"add rule {T} nat-output jump services",
]
SERVICES = [
    [f"add chain {T} service-{n}", f"flush chain {T} service-{n}", f"add rule {T} service-{n} drop"] for n in range(4)
]
TEXT = "\n".join([f"add table {T}", *BASE, f"add chain {T} services", *(x for s in SERVICES for x in s)]) + "\n"


def test_what_fits_is_one_transaction() -> None:
    """A text within the capacity is not touched."""
    assert in_pieces(TEXT, message_bytes(TEXT.splitlines())) == [TEXT]


@pytest.mark.parametrize("capacity", [1, 700, 1500, 2500])
def test_pieces_hold_every_line_once(capacity: int) -> None:
    """Whatever the capacity, all lines are there, and those of each chain in their order."""
    lines = [line for piece in in_pieces(TEXT, capacity) for line in piece.splitlines()]

    assert sorted(lines) == sorted(TEXT.splitlines())
    for service in SERVICES:
        assert [line for line in lines if line in service] == service


def test_base_chains_come_last_and_services_whole() -> None:
    """No packet is let in before everything is there; no chain is emptied in one piece and filled in the next."""
    pieces = [piece.splitlines() for piece in in_pieces(TEXT, message_bytes(SERVICES[0]) * 2)]

    assert pieces[-1] == BASE
    for service in SERVICES:
        assert any(set(service) <= set(piece) for piece in pieces)


def test_halves_are_cut_after_a_service() -> None:
    """A piece that was too long after all is cut where a Service ends; a single line cannot be."""
    first, second = halves("\n".join([*SERVICES[0], *SERVICES[1], ""])) or ("", "")

    assert (first.splitlines(), second.splitlines()) == (SERVICES[0], SERVICES[1])
    assert halves("one line\n") is None


LISTED: list[dict[str, Any]] = [
    {"set": {"name": "cluster-ips", "table": "kube-proxy", "elem": ["10.96.0.20"]}},
    {"set": {"name": "affinity-X-demo/web/tcp/__10.244.1.10/80", "table": "kube-proxy", "elem": ["10.244.1.5"]}},
    {"set": {"name": "nodeport-ips", "table": "kube-proxy", "elem": ["192.168.50.10"]}},
    {
        "map": {
            "name": "no-endpoint-services",
            "table": "kube-proxy",
            "elem": [
                [
                    {"elem": {"val": {"concat": ["10.96.0.21", "tcp", 80]}, "comment": "demo/no"}},
                    {"goto": {"target": "reject-chain"}},
                ],
                [{"concat": ["10.96.0.22", "udp", 53]}, {"drop": None}],
            ],
        }
    },
]


def test_a_listing_is_read_as_it_is_written() -> None:
    """Keys and verdicts are spelled as `add element` spells them; what is not of Services is left out."""
    held = held_in(frozenset({"services", "service-X-demo/web/tcp/"}), LISTED)

    assert held.elements == {
        ("cluster-ips", "10.96.0.20"): "",
        ("no-endpoint-services", "10.96.0.21 . tcp . 80"): "goto reject-chain",
        ("no-endpoint-services", "10.96.0.22 . udp . 53"): "drop",
    }
    assert held.chains == {"service-X-demo/web/tcp/"}
    assert held.sets == {"affinity-X-demo/web/tcp/__10.244.1.10/80"}


def test_where_there_is_no_table_nothing_more_is_listed() -> None:
    """One run of nft tells that a full sync begins with nothing."""
    other = {"chain": {"family": "ip", "table": "nat", "name": "PREROUTING"}}
    runner = ScriptedRunner([Expect(["nft", "-j", "list", "chains", "ip"], stdout=json.dumps({"nftables": [other]}))])

    assert read_held(NftTools(runner, 4)).chains == frozenset()
    runner.assert_done()


@pytest.mark.parametrize("told", ["nftables v0.9.8 (E.D.S.)", "nftables v1.0.0 (Fearless Fosdick)", "something else"])
def test_an_old_nft_is_named(told: str) -> None:
    """kube-proxy wants 1.0.1; the message says which there is."""
    with pytest.raises(ProgramError, match=r"1\.0\.1 or later") as raised:
        require_nft(ScriptedRunner([Expect(["nft", "--version"], stdout=told)]))

    assert told in raised.value.happened


class FakeNft:
    """Takes transactions, and lists a table that holds nothing of Services."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.limit = 1_000_000

    def run(
        self, argv: Sequence[str], stdin: str | bytes = "", *, env: Mapping[str, str] | None = None,
        check: bool = True, limit: float = 30.0,
    ) -> Finished:  # fmt: skip
        """Keep a transaction, or refuse it for its length."""
        assert isinstance(stdin, str)
        if argv[1] == "-f":
            if len(stdin) > self.limit:
                raise ProgramError("run nft -f -", "netlink: Error: Could not process rule: Message too long")
            self.sent.append(stdin)
        return Finished(0, '{"nftables": []}', "", 0.0)


def manifest(*names: str) -> str:
    """Return Services demo/NAME, each with one endpoint."""
    parts = []
    for name in names:
        number = 20 + ord(name) - ord("a")
        parts.append(
            f"{{apiVersion: v1, kind: Service, metadata: {{namespace: demo, name: {name}}}, "
            f"spec: {{clusterIP: 10.96.0.{number}, ports: [{{port: 80}}]}}}}\n---\n"
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, "
            f"metadata: {{namespace: demo, name: {name}, labels: {{kubernetes.io/service-name: {name}}}}}, "
            f'ports: [{{name: "", port: 80}}], endpoints: [{{addresses: [10.244.1.{number}]}}]}}'
        )
    return "\n---\n".join(parts) + "\n"


def writer(nft: FakeNft, capacity: int | None = None) -> NftWriter:
    """Return a writer that speaks to the fake."""
    return NftWriter("node-a", ProxyConfig(mode="nftables"), NftTools(nft, 4), NodeFacts, capacity)


def test_stale_chains_are_deleted_a_second_later() -> None:
    """The sync that makes a chain stale empties it; only one a second later, before its own lines, deletes it."""
    nft = FakeNft()
    subject = writer(nft)
    stages = [("a", "b"), ("a",), ("a", "c"), ("a", "c", "d")]
    for now, names in zip((0.0, 10.0, 10.9, 11.0), stages, strict=True):
        nft.sent.append(f"at {now}")
        subject.write(parse_cluster(manifest(*names), "m"), frozenset() if now else None, now)
    deletions = [number for number, text in enumerate(nft.sent) if text.startswith("delete chain")]

    assert len(deletions) == 1
    assert nft.sent[deletions[0] - 1] == "at 11.0"
    assert "/b/" in nft.sent[deletions[0]]
    assert "/d/" in nft.sent[deletions[0] + 1]


def test_a_stale_chain_that_is_used_again_stays() -> None:
    """A Service that comes back within the second keeps its chain."""
    nft = FakeNft()
    subject = writer(nft)
    for now, names in ((0.0, "ab"), (10.0, "a"), (10.5, "ab"), (20.0, "abc")):
        subject.write(parse_cluster(manifest(*names), "m"), frozenset() if now else None, now)

    assert not any(text.startswith("delete chain") for text in nft.sent)


def test_nothing_to_say_runs_nothing() -> None:
    """The same state again is no transaction."""
    nft = FakeNft()
    subject = writer(nft)
    cluster = parse_cluster(manifest("a"), "m")
    subject.write(cluster, None, 0.0)
    nft.sent.clear()
    subject.write(cluster, frozenset(), 5.0)

    assert nft.sent == []


def test_a_message_that_is_too_long_is_cut() -> None:
    """Where the kernel takes less than we count on, pieces are halved until it takes them; nothing is sent twice."""
    nft = FakeNft()
    cluster = parse_cluster(manifest(*"abcdefgh"), "m")
    writer(nft).write(cluster, None, 0.0)
    (whole,) = nft.sent
    nft.sent, nft.limit = [], 1500
    writer(nft, capacity=1_000_000).write(cluster, None, 0.0)

    assert len(nft.sent) > 2
    assert sorted(line for text in nft.sent for line in text.splitlines()) == sorted(whole.splitlines())


def test_another_refusal_is_told() -> None:
    """What is not about length is an error at once."""

    class Refusing(FakeNft):
        def run(
            self, argv: Sequence[str], stdin: str | bytes = "", *, env: Mapping[str, str] | None = None,
            check: bool = True, limit: float = 30.0,
        ) -> Finished:  # fmt: skip
            """Refuse every transaction."""
            if argv[1] == "-f":
                raise ProgramError("run nft -f -", "Error: Could not process rule: Operation not permitted")
            return super().run(argv, stdin)

    with pytest.raises(ApplyError, match="not permitted"):
        writer(Refusing(), capacity=1_000_000).write(parse_cluster(manifest("a"), "m"), None, 0.0)
