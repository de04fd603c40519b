"""The sentences of nf_tables' own rules: what a rule is for, what it looked up, and where the packet goes on.

What a rule is for is read off kube-proxy's names (pkg/proxy/nftables/proxier.go): its chains, maps, sets and comments.
A rule that is not kube-proxy's is told by what it does alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kplab.model.journey import Lookup
from kplab.model.nft import Nat, NftRule, Reject, SetField, Update
from kplab.model.packet import Headers
from kplab.trace.nft_try import count
from kplab.trace.nft_types import Choice

KUBE_PROXY = "kube-proxy"
"""The table's name, in families ip and ip6."""

_OWNER = re.compile(
    r"^(?:service|local|external|endpoint|firewall|affinity)-[A-Z0-9]{8}-([^/]+)/([^/]+)/[^/]+/([^/_]*)"
)
_ENDPOINT = re.compile(r"__([^/]+)/(\d+)$")
_COMMENT = re.compile(r'comment "([a-z0-9-]+/[a-z0-9.:-]+)"')

_FIXED = {
    "firewall-check": "the chain that asks whether loadBalancerSourceRanges apply to this destination",
    "nodeport-endpoints-check": "the chain that refuses NodePorts without endpoints",
    "service-endpoints-check": "the chain that refuses Service addresses without endpoints",
    "cluster-ips-check": "the chain that refuses ClusterIPs at ports that no Service has",
    "services": "the chain that looks Service addresses and NodePorts up",
    "masquerading": "the chain that masquerades what needs it",
    "reject-chain": "the chain that rejects",
}
"""What kube-proxy's chains are for."""

_VERDICTS = {
    "accept": "this base chain accepts the packet",
    "drop": "the packet is dropped, and nobody is told",
    "return": "back to the chain that called",
    "continue": "the next rule is tried",
    "queue": "a program in user space decides",
}


@dataclass(frozen=True, slots=True)
class NftTried:
    """A matched rule and the moment of it."""

    rule: NftRule
    table: str
    passed_over: int
    verdict: str
    headers: Headers
    mark_before: int
    mark_after: int
    lookup: Lookup | None
    choice: Choice | None
    chosen: str | None
    """The address that DNAT wrote, as seen afterwards: "10.244.1.10:8080"."""


def nft_service_of(rule: NftRule, verdict: str, lookup: Lookup | None) -> str | None:
    """Return the `ns/name:port` that the rule or the element was written for, from kube-proxy's names and comments."""
    said = _COMMENT.search(lookup.element or "") if lookup else None
    if said:
        return said.group(1)
    for name in (verdict.partition(" ")[2], rule.chain):
        owner = _OWNER.match(name)
        if owner:
            return f"{owner[1]}/{owner[2]}" + (f":{owner[3]}" if owner[3] else "")
    return None


def nft_rule_sentence(tried: NftTried) -> str:
    """Return one sentence: which rule, after how many, what it looked up, what it is for, where the packet goes on."""
    rule, over = tried.rule, tried.passed_over
    after = f" after {over} that did not" if over else ""
    return f"{rule.chain}: rule {rule.number} matched{after}: {_looked_up(tried.lookup)}{_meaning(tried)}."


def _looked_up(lookup: Lookup | None) -> str:
    """Say what was asked of a named map or set."""
    if lookup is None or lookup.element is None:
        return ""
    return f"one lookup in {lookup.map} ({count(lookup.elements)}), {lookup.key}, found “{lookup.element}”; "


def _meaning(tried: NftTried) -> str:
    statements = tried.rule.statements
    if tried.verdict == "reject":
        answer = next((each.answer for each in statements if isinstance(each, Reject)), "an ICMP error")
        return f"{_refusal(tried)}, so it is rejected with {answer}"
    nat = next((each for each in statements if isinstance(each, Nat)), None)
    if nat is not None:
        return _nat(tried, nat)
    if tried.verdict.startswith(("jump ", "goto ")):
        return _led(tried)
    if any(isinstance(each, Update) for each in statements):
        return (
            f"{tried.headers.src} is kept in this endpoint's affinity set, or its time begins anew, so that its next "
            "connection comes here too; the next rule is tried"
        )
    if any(isinstance(each, SetField) for each in statements):
        return _marked(tried)
    if tried.verdict == "drop":
        return f"{_refusal(tried)}, so it is dropped, and nobody is told"
    return _VERDICTS.get(tried.verdict, tried.verdict)


def _refusal(tried: NftTried) -> str:
    service = nft_service_of(tried.rule, tried.verdict, tried.lookup)
    chain = tried.rule.chain
    if tried.table != KUBE_PROXY:
        return "it is what the rule forbids"
    if chain == "cluster-ips-check" and tried.lookup is not None:
        return f"{tried.headers.dst} is a ClusterIP, and no Service port was found for the packet"
    if chain == "cluster-ips-check":
        return f"{tried.headers.dst} is in the Service range, and is no Service's"
    if chain.startswith("firewall-"):
        return f"the source {tried.headers.src} is in none of the loadBalancerSourceRanges of {service}"
    if chain == "reject-chain":
        return "the Service has no endpoints"
    if chain.endswith("-endpoints-check"):
        return f"{service or 'the Service'} has no endpoint on this node, and its traffic policy is Local"
    return "it is what the rule forbids"


def _nat(tried: NftTried, nat: Nat) -> str:
    done = "nat is done with this packet"
    if nat.kind == "masquerade":
        why = "the source becomes the address of the interface that it leaves by"
        if tried.table == KUBE_PROXY and tried.lookup is not None:
            return (
                f"source and destination are one endpoint (hairpin), so {why}: it would answer itself else, past "
                f"conntrack; {done}"
            )
        marked = "the packet bears the mark, which is taken off again, and " if tried.mark_before else ""
        return f"{marked}{why}, so that the answer has to come back to this node; {done}"
    if nat.kind != "dnat":
        return f"the {'source' if nat.kind == 'snat' else 'destination'} is rewritten ({nat.kind}), and {done}"
    to = tried.chosen or "another address"
    if tried.choice is None:
        return f"the destination becomes {to}, and {done}"
    if tried.choice.mod == 1:
        return f"the destination becomes {to}, the only endpoint, so the draw of one number decides nothing; {done}"
    number = tried.choice.number_of(to)
    drawn = f" must have been {number}" if number is not None else " is not known"
    return (
        f"the number drawn of 0 to {tried.choice.mod - 1}{drawn}, so the destination becomes {to}, one of "
        f"{len(tried.choice.ways)} endpoints; {done}"
    )


def _marked(tried: NftTried) -> str:
    before, after, source = tried.mark_before, tried.mark_after, tried.headers.src
    comment = tried.rule.comment or ""
    if comment.startswith("masquerade clusterIP traffic from outside"):
        why = f"the sender {source} is no pod, and asks for a ClusterIP"
    elif comment.startswith("masquerade local"):
        why = "this node itself sent it to an external address"
    elif comment.startswith("masquerade all"):
        why = "all ClusterIP traffic is to be masqueraded"
    elif tried.rule.chain.startswith("external-"):
        why = "it came to an external address and may go on to another node"
    else:
        return f"the mark goes from {before:#x} to {after:#x}; the next rule is tried"
    return (
        f"{why}, so the mark becomes {after:#x}: POSTROUTING will rewrite its source, and the answer comes back "
        "through this node; the next rule is tried"
    )


def _led(tried: NftTried) -> str:
    """Say why the packet goes on in another chain."""
    word, _, where = tried.verdict.partition(" ")
    service = nft_service_of(tried.rule, tried.verdict, tried.lookup)
    onward = f"so the packet goes on in {where}" + ("" if word == "jump" else ", and does not come back here")
    if tried.table != KUBE_PROXY:
        return f"its conditions hold, {onward}"
    asked = tried.lookup.map if tried.lookup else ""
    if asked == "service-ips":
        return f"it is for {service}, {onward}"
    if asked == "service-nodeports":
        return f"it is {service}'s NodePort {tried.headers.dport}, {onward}"
    if asked.startswith("no-endpoint-"):
        return f"{service or 'the Service'} has no endpoints, {onward}"
    if asked == "firewall-ips":
        return f"loadBalancerSourceRanges of {service} apply, {onward}"
    if asked.startswith("affinity-"):
        return f"{tried.headers.src} was sent to {_endpoint(where)} not long ago (ClientIP affinity), {onward}"
    if tried.choice is not None:
        number = tried.choice.number_of(tried.verdict)
        drawn = f"must have been {number}" if number is not None else "is not known"
        return f"the number drawn of 0 to {tried.choice.mod - 1} {drawn}: endpoint {_endpoint(where)}, {onward}"
    if where in _FIXED:
        every = "every new connection goes" if "ct state new" in tried.rule.text else "every packet goes"
        every = "every connection's first packet goes" if where in ("services", "masquerading") else every
        return f"{every} on to {where}, {_FIXED[where]}"
    return f"{_policy(tried)}, {onward}"


def _policy(tried: NftTried) -> str:
    comment, where = tried.rule.comment or "", tried.verdict.partition(" ")[2]
    if comment.startswith("short-circuit pod"):
        return "a pod sent it, so all endpoints may answer whatever externalTrafficPolicy says"
    if comment.startswith("short-circuit local"):
        return "this node itself sent it, so all endpoints may answer"
    if where.startswith("local-"):
        return "the traffic policy is Local: only this node's endpoints, and no masquerading"
    return "all endpoints may answer" if where.startswith("service-") else "its conditions hold"


def _endpoint(chain: str) -> str:
    """Return "10.244.1.10:8080" of endpoint-…__10.244.1.10/8080; in IPv6 names the colons are dots."""
    found = _ENDPOINT.search(chain)
    if found is None:
        return chain
    address, port = found.groups()
    return f"{address}:{port}" if address.count(".") == 3 else f"[{address.replace('.', ':')}]:{port}"


def nft_chain_sentence(
    chain: str, verdict: str, tried: int, passed_over: int, caller: str | None, last_reason: str | None
) -> str:
    """Return the sentence of a chain that ended without a verdict; `last_reason` is why its last rule did not match."""
    if tried == 0:
        rules = "it holds no rules"
    elif passed_over == 0:
        rules = "no rule is left"
    elif passed_over == 1 == tried:
        rules = f"its one rule did not match: {last_reason}"
    elif passed_over == tried:
        rules = f"none of its {tried} rules matched; the last one: {last_reason}"
    else:
        more = "one more rule" if passed_over == 1 else f"{passed_over} more rules"
        rules = f"{more} did not match; the last one: {last_reason}"
    if verdict.startswith("policy"):
        policy = verdict.removeprefix("policy ")
        then = "is dropped, and nobody is told" if policy == "drop" else "goes on"
        return f"{chain}: {rules}; the chain's policy decides: {policy}, and the packet {then}."
    return f"{chain}: {rules}; the chain is at its end, back to {caller or 'the chain that called'}."
