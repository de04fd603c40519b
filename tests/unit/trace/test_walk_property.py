"""Random rules and packets: a small interpreter of its own plays the kernel, and the walk must agree with it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

import pytest

from kplab.model.packet import Headers
from kplab.rules.iptables_save import parse_iptables_save
from kplab.trace.matching import NodeView, Probe
from kplab.trace.walk import Hit, Walk, walk

pytestmark = pytest.mark.unit

ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.1.0.1", "192.168.0.9")
NETWORKS = ("10.0.0.1/32", "10.0.0.0/16", "10.0.0.0/8", "192.168.0.0/24", "0.0.0.0/0")
USER_CHAINS = ("C1", "C2", "C3", "C4")


@dataclass
class Packet:
    """What the interpreter knows of a packet."""

    src: str
    dst: str
    proto: str
    sport: int
    dport: int
    state: str
    iif: str
    mark: int


@dataclass
class Line:
    """One rule, as data: conditions as (kind, value, inverted), a target, and the draw that the kernel would make."""

    conditions: list[tuple[str, str, bool]]
    target: str
    draw: bool | None = None

    def text(self, chain: str) -> str:
        """Write it as iptables-save does."""
        words = [f"-A {chain}"]
        for kind, value, inverted in self.conditions:
            option = {
                "src": f"-s {value}", "dst": f"-d {value}", "iif": f"-i {value}", "proto": f"-p {value}",
                "dport": f"--dport {value}", "mark": f"--mark {value}", "state": f"--ctstate {value}",
                "ports": f"--ports {value}",
            }[kind]  # fmt: skip
            module = {"dport": "-m tcp", "mark": "-m mark", "state": "-m conntrack", "ports": "-m multiport"}.get(kind)
            words += ([module] if module else []) + (["!"] if inverted else []) + [option]
        if self.draw is not None:
            words.append("-m statistic --mode random --probability 0.50000000000")
        return " ".join([*words, self.target])

    def matches(self, packet: Packet) -> bool:
        """Decide as the kernel would."""
        return all(_holds(kind, value, packet) != inverted for kind, value, inverted in self.conditions) and (
            self.draw is not False
        )


def _holds(kind: str, value: str, packet: Packet) -> bool:
    if kind in ("src", "dst"):
        return ip_address(getattr(packet, kind)) in ip_network(value)
    if kind == "iif":
        return packet.iif.startswith(value[:-1]) if value.endswith("+") else packet.iif == value
    if kind == "proto":
        return packet.proto == value
    if kind == "dport":
        return int(value.split(":")[0]) <= packet.dport <= int(value.split(":")[-1])
    if kind == "ports":
        return str(packet.dport) in value.split(",") or str(packet.sport) in value.split(",")
    if kind == "mark":
        wanted, mask = (int(part, 0) for part in value.split("/"))
        return packet.mark & mask == wanted
    return packet.state.upper() in value.split(",")


def _conditions(random_: random.Random) -> list[tuple[str, str, bool]]:
    found = []
    for kind, values in (("src", NETWORKS), ("dst", NETWORKS), ("iif", ("eth0", "veth+", "lo"))):
        if random_.random() < 0.3:
            found.append((kind, random_.choice(values), random_.random() < 0.3))
    if random_.random() < 0.4:
        proto = random_.choice(("tcp", "udp"))
        found.append(("proto", proto, False))
        if proto == "tcp" and random_.random() < 0.7:
            found.append(("dport", random_.choice(("80", "80:443", "53")), random_.random() < 0.3))
        elif random_.random() < 0.5:
            found.append(("ports", random_.choice(("53,80", "40000", "9")), random_.random() < 0.3))
    if random_.random() < 0.25:
        found.append(("mark", random_.choice(("0x1/0x1", "0x4/0x6", "0x0/0xff")), random_.random() < 0.3))
    if random_.random() < 0.25:
        found.append(("state", random_.choice(("NEW", "RELATED,ESTABLISHED")), random_.random() < 0.3))
    return found


@dataclass
class Play:
    """A random ruleset, and what a kernel of our own does with a packet in it."""

    random_: random.Random
    chains: dict[str, list[Line]] = field(default_factory=dict)
    policy: str = "ACCEPT"
    hits: list[Hit] = field(default_factory=list)
    draws: int = 0

    def build(self) -> None:
        """Make chains; each jumps only to later ones, as no kernel takes circles."""
        names = ("FORWARD", *USER_CHAINS)
        self.policy = self.random_.choice(("ACCEPT", "DROP"))
        for at, name in enumerate(names):
            plain = ["", "-j ACCEPT", "-j DROP", "-j RETURN", "-j MARK --set-xmark 0x1/0x1", "-j REJECT",
                     "-j MARK --set-xmark 0x4/0xff", "-j LOG"]  # fmt: skip
            ways = [f"{word} {later}" for later in names[at + 1 :] for word in ("-j", "-j", "-g")]
            self.chains[name] = [
                Line(_conditions(self.random_), self.random_.choice(plain + ways * 2), self._draw())
                for _ in range(self.random_.randint(0, 6))
            ]

    def _draw(self) -> bool | None:
        return self.random_.choice((True, False)) if self.random_.random() < 0.1 else None

    def text(self) -> str:
        """Write it as iptables-save does."""
        heads = [f":FORWARD {self.policy} [0:0]", *(f":{name} - [0:0]" for name in USER_CHAINS)]
        lines = [line.text(name) for name, rules in self.chains.items() for line in rules]
        return "\n".join(["*filter", *heads, *lines, "COMMIT", ""])

    def run(self, chain: str, packet: Packet) -> str | None:
        """Traverse a chain, noting what nf_tables' trace would say; return a final verdict or None."""
        for number, line in enumerate(self.chains[chain], 1):
            if not line.matches(packet):
                continue
            _, word, name = ("", "", "") if not line.target else (*line.target.split(" ")[:2], "")
            if line.target.startswith(("-j MARK", "-j LOG")) or not line.target:
                if "--set-xmark" in line.target:
                    value, mask = (int(part, 0) for part in line.target.split(" ")[-1].split("/"))
                    packet.mark = (packet.mark & ~mask) ^ value
                self._hit(chain, number, "continue", packet)
            elif word in ("ACCEPT", "DROP", "REJECT"):
                self._hit(chain, number, "accept" if word == "ACCEPT" else "drop", packet)
                return word.lower()
            elif word == "RETURN":
                self._hit(chain, number, "return", packet)
                return None
            else:
                name, goto = word, line.target.startswith("-g")
                self._hit(chain, number, f"{'goto' if goto else 'jump'} {name}", packet)
                verdict = self.run(name, packet)
                if verdict is not None or goto:
                    return verdict
        self.hits.append(Hit(chain, None, "return", "continue", packet.mark))
        return None

    def _hit(self, chain: str, number: int, verdict: str, packet: Packet) -> None:
        self.hits.append(Hit(chain, number, "rule", verdict, packet.mark))


def random_packet(random_: random.Random) -> Packet:
    """Make a packet."""
    return Packet(
        src=random_.choice(ADDRESSES), dst=random_.choice(ADDRESSES), proto=random_.choice(("tcp", "udp")),
        sport=40000, dport=random_.choice((53, 80, 443, 9000)), state=random_.choice(("new", "established")),
        iif=random_.choice(("eth0", "veth7", "lo")), mark=random_.choice((0, 1, 4)),
    )  # fmt: skip


def probe_of(packet: Packet) -> Probe:
    """Return what the walk is asked about."""
    headers = Headers(4, packet.src, packet.dst, packet.proto, sport=packet.sport, dport=packet.dport)
    return Probe(headers, mark=packet.mark, iif=packet.iif, ct_state=packet.state, ct_status=0, node=NodeView())


def played(seed: int) -> tuple[Play, Packet, str]:
    """Return rules, the packet as it came, and the verdict."""
    random_ = random.Random(seed)  # noqa: S311 -- a test's own randomness, by seed
    play = Play(random_)
    play.build()
    packet = random_packet(random_)
    verdict = play.run("FORWARD", replace(packet))
    if verdict is None:
        mark = play.hits[-1].mark if play.hits else packet.mark
        play.hits.append(Hit("FORWARD", None, "policy", play.policy.lower(), mark))
    return play, packet, verdict or f"policy {play.policy.lower()}"


def ways(found: Walk) -> list[tuple[object, ...]]:
    """Return what a walk says of each segment, but for its evidence."""
    return [(s.chain, s.matched, s.tried, s.verdict, s.mark_after) for s in found.segments]


@pytest.mark.parametrize("block", range(6))
def test_a_walk_agrees_with_an_interpreter_of_the_rules(block: int) -> None:
    """Followed: the same verdict and mark, and no disagreement. Modelled: the same way, up to the first draw."""
    draws = 0
    for seed in range(block * 200, block * 200 + 200):
        play, packet, verdict = played(seed)
        ruleset = parse_iptables_save(play.text(), 4, "nft")
        found = walk(ruleset, "filter", "FORWARD", probe_of(packet), play.hits)
        assert (found.disagreements, found.unfinished, found.verdict) == ((), None, verdict), (seed, play.text())
        assert found.mark_after == play.hits[-1].mark
        assert all(s.tried >= len(s.skipped) for s in found.segments)
        alone = walk(ruleset, "filter", "FORWARD", probe_of(packet), None)
        assert ways(alone) == ways(found)[: len(alone.segments)]
        assert alone.undecided is not None or len(alone.segments) == len(found.segments)
        draws += alone.undecided is not None
    assert draws > 10


@pytest.mark.parametrize("block", range(6))
def test_a_forged_hit_is_a_disagreement(block: int) -> None:
    """Claim another rule of the same chain for any one hit, where nothing was drawn: the walk notices."""
    forged = 0
    for seed in range(block * 200, block * 200 + 200):
        play, packet, _ = played(seed)
        if any(line.draw is not None for rules in play.chains.values() for line in rules):
            continue
        ruleset = parse_iptables_save(play.text(), 4, "nft")
        for at, hit in enumerate(play.hits):
            others = [n for n in range(1, len(play.chains[hit.chain]) + 1) if n != hit.number]
            if hit.kind != "rule" or not others:
                continue
            lie = replace(hit, number=random.Random(seed).choice(others))  # noqa: S311 -- by seed
            hits = [*play.hits[:at], lie, *play.hits[at + 1 :]]
            assert walk(ruleset, "filter", "FORWARD", probe_of(packet), hits).disagreements, (seed, at, play.text())
            forged += 1
    assert forged > 20
