"""How long reading a large node's rules takes, and a walk through 4,000 of them with the reason of each."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figure import Figure, seconds
from kplab.model.packet import Headers
from kplab.rules.iptables_save import parse_iptables_save
from kplab.trace.matching import NodeView, Probe
from kplab.trace.walk import Hit, walk

SERVICES, ENDPOINTS = 4000, 6


def dump() -> str:
    """Return nat as iptables-save prints it for that many Services (the shape of kube-proxy's rules)."""
    chains, rules = [], ["-A PREROUTING -j KUBE-SERVICES"]
    for n in range(SERVICES):
        service, address = f"KUBE-SVC-{n:016d}", f"10.{96 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}"
        chains.append(f":{service} - [0:0]")
        comment = f'-m comment --comment "ns/service-{n}:http cluster IP"'
        rules.append(f"-A KUBE-SERVICES -d {address}/32 -p tcp {comment} -m tcp --dport 80 -j {service}")
        for m in range(ENDPOINTS):
            endpoint = f"KUBE-SEP-{n:013d}{m:03d}"
            chains.append(f":{endpoint} - [0:0]")
            draw = f"-m statistic --mode random --probability {1 / (ENDPOINTS - m):.11f} " if m < ENDPOINTS - 1 else ""
            rules.append(f"-A {service} {draw}-j {endpoint}")
            rules.append(f"-A {endpoint} -p tcp -m tcp -j DNAT --to-destination 10.244.1.{m + 1}:8080")
    heads = [":PREROUTING ACCEPT [0:0]", ":KUBE-SERVICES - [0:0]"]
    return "\n".join(["*nat", *heads, *chains, *rules, "COMMIT", ""])


def measure() -> Iterator[Figure]:
    """Yield the time of reading all rules, of a first walk (which reads the options of 4,000), and of a later one."""
    text = dump()
    headers = Headers(4, "10.244.1.5", "10.1.2.3", "tcp", sport=40000, dport=80, flags="S")
    probe = Probe(headers, iif="veth0", ct_state="new", ct_status=0, node=NodeView.read(["192.168.50.10"]))
    hits = [
        Hit("PREROUTING", 1, "rule", "jump KUBE-SERVICES", 0),
        Hit("KUBE-SERVICES", None, "return", "continue", 0),
        Hit("PREROUTING", None, "policy", "accept", 0),
    ]
    lines = text.count("\n-A ")
    yield Figure(f"read {lines} rules", seconds(lambda: parse_iptables_save(text, 4, "nft")), "s", 0.5)
    fresh = [parse_iptables_save(text, 4, "nft") for _ in range(3)]
    first = seconds(lambda: walk(fresh.pop(), "nat", "PREROUTING", probe, hits))
    yield Figure(f"first walk of {SERVICES} rules with reasons", first, "s", 0.3)
    ruleset = parse_iptables_save(text, 4, "nft")
    walk(ruleset, "nat", "PREROUTING", probe, hits)
    later = seconds(lambda: walk(ruleset, "nat", "PREROUTING", probe, hits))
    yield Figure(f"later walk of {SERVICES} rules with reasons", later, "s", 0.05)
