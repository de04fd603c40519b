"""The check of nftables mode's rules: a map leads a Service's address to a chain, and that to each endpoint."""

from __future__ import annotations

import re

from kplab.course.check_findings import Findings
from kplab.course.lesson import ServiceLookup
from kplab.session.base import Session

TABLE = ("ip", "kube-proxy")
MAP = "service-ips"


def service_lookup(check: ServiceLookup, session: Session) -> Findings:
    """Ask the map for the key as a packet would, and compare the chain that it names with the endpoints."""
    listed = session.execute(check.node, ("nft", "get", "element", *TABLE, MAP, f"{{ {check.key} }}"))
    found = re.search(r": goto (\S+)", listed.stdout)
    if found is None:
        return Findings((), (f"{check.node}: the map {MAP} has no element for {check.key}",))
    chain = found.group(1)
    body = session.execute(check.node, ("nft", "list", "chain", *TABLE, chain)).stdout
    reached = [f"{address}:{port}" for address, port in re.findall(r"(\d+\.\d+\.\d+\.\d+) \. (\d+)", body)]
    missed = [f"{chain} does not lead to {endpoint}" for endpoint in check.endpoints if endpoint not in reached]
    missed += [
        f"{chain} leads to {other}, which is none of its endpoints" for other in reached if other not in check.endpoints
    ]
    if len(reached) != len(set(reached)):
        missed.append(f"{chain} does not give each endpoint the same share")
    lines = (
        f"{check.node}: {MAP} has {check.key}, which leads to {chain}",
        f"{chain} draws among {', '.join(reached)}",
    )
    return Findings(lines, tuple(missed))
