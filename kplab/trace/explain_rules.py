"""The sentence of a rule that matched, and of a chain that ended: what it is for, and where the packet goes on.

What a rule is for is read off the rule as the kernel printed it: its chain, its target and kube-proxy's comment
(pkg/proxy/iptables/proxier.go). A rule that is not kube-proxy's is told by its matches alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kplab.model.journey import Lookup
from kplab.model.packet import Headers
from kplab.model.ruleset import AddressMatch, MarkMatch, RecentMatch, Rule, StatisticMatch, Target
from kplab.trace.explain_ipvs import found_in_set, ipvs_meaning

_SERVICE = re.compile(r"(?:^|\bfor )([a-z0-9-]+/[a-z0-9.-]+(?::[a-z0-9-]+)?)(?= |$)")
_ARROW = re.compile(r" -> (\S+)$")

_FIXED = {
    ("nat", "KUBE-SERVICES"): "the chain with a rule for each Service address",
    ("nat", "KUBE-NODEPORTS"): "the chain with a rule for each NodePort",
    ("nat", "KUBE-POSTROUTING"): "the chain that masquerades what was marked for it",
    ("filter", "KUBE-SERVICES"): "the chain that refuses ClusterIPs without endpoints",
    ("filter", "KUBE-EXTERNAL-SERVICES"): "the chain that refuses external addresses and NodePorts without endpoints",
    ("filter", "KUBE-NODEPORTS"): "the chain that accepts health check node ports",
    ("filter", "KUBE-FORWARD"): "the chain that lets Service traffic be forwarded",
    ("filter", "KUBE-PROXY-FIREWALL"): "the chain that drops what loadBalancerSourceRanges does not allow",
    ("filter", "KUBE-FIREWALL"): "the chain that keeps others from reaching 127.0.0.0/8",
}
"""What kube-proxy's chains are for, by table and name."""

_VERDICTS = {
    "accept": "the packet leaves this table accepted",
    "drop": "the packet is dropped",
    "return": "back to the chain that called",
    "continue": "the next rule is tried",
    "queue": "a program in user space decides",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """A matched rule and the moment of it."""

    rule: Rule
    table: str
    passed_over: int
    """Rules tried since the visit's last match that did not match."""
    verdict: str
    headers: Headers
    mark_before: int
    mark_after: int
    hook: str
    lookup: Lookup | None = None
    """The member of an ipset that the rule asked for and found."""


def service_of(rule: Rule) -> str | None:
    """Return the `ns/name:port` that the rule was written for, from its comment."""
    found = _SERVICE.search(rule.comment or "")
    return found.group(1) if found else None


def rule_sentence(tried: Tried) -> str:
    """Return one sentence: which rule, after how many, what it is for, where the packet goes on."""
    rule = tried.rule
    over = tried.passed_over
    after = f" after {over} that did not" if over else ""
    return f"{rule.chain}: rule {rule.number} matched{after}: {found_in_set(tried.lookup)}{_meaning(tried)}."


def _meaning(tried: Tried) -> str:
    rule, target = tried.rule, tried.rule.target
    said = ipvs_meaning(rule, tried.table, tried.headers, tried.lookup)
    if said is not None:
        return said
    if target.name == "DNAT":
        return _dnat(target)
    if target.name in ("MASQUERADE", "SNAT"):
        return _snat(target)
    if target.name == "MARK":
        return _mark(tried)
    if target.name == "REJECT":
        return f"{_filter_reason(rule)}, so it is rejected with {target.option('reject-with') or 'an ICMP error'}"
    if target.name == "DROP":
        return f"{_filter_reason(rule)}, so it is dropped, and nobody is told"
    if target.name == "":
        return f"{_ours(rule.comment)}the rule has no target: it only counts, and the next rule is tried"
    if target.name == "RETURN":
        return _returned(rule)
    if target.name == "ACCEPT":
        return f"{_accept_reason(rule)}, so {tried.table} {tried.hook} accepts it, and its further rules are not tried"
    if tried.verdict.startswith(("jump ", "goto ")):
        return _jump(tried)
    return f"target {target.name}; {_VERDICTS.get(tried.verdict, tried.verdict)}"


def _dnat(target: Target) -> str:
    to = target.option("to-destination") or "another address"
    return (
        f"the destination becomes {to}; DNAT ends the nat table for this packet, so nothing returns to the chains "
        "that led here"
    )


def _snat(target: Target) -> str:
    if target.name == "SNAT":
        return f"the source becomes {target.option('to-source') or 'another address'}, and nat is done with this packet"
    return (
        "the source becomes the address of the interface that it leaves by (MASQUERADE), so that the answer has to "
        "come back to this node; nat is done with this packet"
    )


def _mark(tried: Tried) -> str:
    before, after = tried.mark_before, tried.mark_after
    if tried.rule.chain == "KUBE-MARK-MASQ":
        return f"the mark becomes {after:#x}: POSTROUTING will masquerade this packet; the next rule is tried"
    if tried.rule.chain == "KUBE-POSTROUTING":
        return (
            f"the mark goes from {before:#x} to {after:#x}, so that the packet is not masqueraded twice if it comes by "
            "again; the next rule is tried"
        )
    return f"the mark goes from {before:#x} to {after:#x}; the next rule is tried"


def _filter_reason(rule: Rule) -> str:
    comment, service = rule.comment or "", service_of(rule)
    if service and comment.endswith("has no endpoints"):
        return f"{service} has no endpoints"
    if service and comment.endswith("has no local endpoints"):
        return f"{service} has no endpoint on this node, and its traffic policy is Local"
    if "traffic not accepted by" in comment:
        return f"the source is in none of the loadBalancerSourceRanges of {service}"
    if rule.chain == "KUBE-FORWARD":
        return "conntrack calls the packet invalid"
    if rule.chain == "KUBE-FIREWALL":
        return "it is for 127.0.0.0/8, comes from elsewhere, and belongs to no known connection"
    return "it is what the rule forbids"


def _accept_reason(rule: Rule) -> str:
    comment, service = rule.comment or "", service_of(rule)
    if "conntrack rule" in comment:
        return "conntrack knows the packet's connection"
    if rule.chain == "KUBE-FORWARD":
        return "it bears kube-proxy's mark"
    if service and comment.endswith("health check node port"):
        return f"it is for the health check node port of {service}"
    return "it is what the rule allows"


def _returned(rule: Rule) -> str:
    if rule.chain == "KUBE-POSTROUTING":
        mark = next((match for match in rule.matches if isinstance(match, MarkMatch)), None)
        return (
            f"the packet does not bear the mark {mark.value if mark else 0x4000:#x}, so there is nothing to masquerade"
        )
    return "back to the chain that called"


def _jump(tried: Tried) -> str:
    rule = tried.rule
    target, onward = rule.target.name, f"so the packet goes on in {rule.target.name}"
    comment, service = rule.comment or "", service_of(rule)
    address = _shown(tried.headers)
    if target == "KUBE-MARK-MASQ":
        return _marking(rule, service, tried.headers)
    if target == "KUBE-NODEPORTS" and tried.table == "nat":
        return f"{tried.headers.dst} is one of this node's own addresses, so NodePorts are looked at"
    if (tried.table, target) in _FIXED and not service:
        return f"{_every(tried.table, rule)} on to {target}, {_FIXED[tried.table, target]}"
    if target.startswith("KUBE-SEP-"):
        return _endpoint(rule, comment, tried.headers, onward)
    if rule.chain.startswith("KUBE-FW-"):
        return f"the source {tried.headers.src} is in an allowed range of {service}, {onward}"
    if rule.chain == "KUBE-NODEPORTS" and service:
        return f"it is {_whose(service)} NodePort {tried.headers.dport}, {onward}"
    for ending, words in (
        ("cluster IP", "ClusterIP"),
        ("external IP", "external IP"),
        ("loadbalancer IP", "load balancer IP"),
    ):
        if service and comment.endswith(ending):
            return f"it is {_whose(service)} {words} {address}, {onward}"
    if rule.chain.startswith("KUBE-EXT-"):
        return _external(comment, target, onward)
    return f"its conditions hold, {onward}"


def _every(table: str, rule: Rule) -> str:
    if table == "nat":
        return "every connection's first packet goes"
    return "every new connection goes" if "--ctstate NEW" in rule.text else "every packet goes"


def _marking(rule: Rule, service: str | None, headers: Headers) -> str:
    source = next((m for m in rule.matches if isinstance(m, AddressMatch) and m.side == "source"), None)
    if source and source.inverted:
        return (
            f"the sender {headers.src} is no pod (outside {source.network}), so the packet is marked: its source will "
            "be rewritten, and the answer comes back through this node"
        )
    if source and rule.chain.startswith("KUBE-SEP-"):
        return (
            f"the sender {headers.src} is this very endpoint (hairpin), so the packet is marked: with its own "
            "address as source it would answer itself, past conntrack"
        )
    if "LOCAL" in rule.text:
        return f"this node itself sent it to an external address of {service}, so it is marked for masquerading"
    return (
        f"it came to an external address of {service or 'the Service'} and may go on to another node, so it is marked: "
        "its source will be rewritten, and the answer comes back through this node"
    )


def _endpoint(rule: Rule, comment: str, headers: Headers, onward: str) -> str:
    arrow = _ARROW.search(comment)
    endpoint = arrow.group(1) if arrow else "the endpoint"
    recent = next((match for match in rule.matches if isinstance(match, RecentMatch)), None)
    if recent is not None:
        within = f" in the last {recent.seconds} s" if recent.seconds else ""
        return f"{headers.src} was sent to {endpoint}{within} (ClientIP affinity), {onward}"
    draw = next((match for match in rule.matches if isinstance(match, StatisticMatch)), None)
    if draw is not None and draw.probability:
        return f"the kernel's draw (1 in {round(1 / draw.probability)}) fell on endpoint {endpoint}, {onward}"
    return f"it is the last endpoint, {endpoint}, and takes every packet that came so far without a draw, {onward}"


def _external(comment: str, target: str, onward: str) -> str:
    if comment.startswith("pod traffic"):
        return f"a pod sent it, so all endpoints may answer whatever externalTrafficPolicy says, {onward}"
    if comment.startswith("route LOCAL"):
        return f"this node itself sent it, so all endpoints may answer, {onward}"
    if target.startswith("KUBE-SVL-"):
        return f"externalTrafficPolicy is Local: only this node's endpoints, and no masquerading, {onward}"
    return f"all endpoints may answer, {onward}"


def _ours(comment: str | None) -> str:
    return f"“{comment}”; " if comment else ""


def _whose(service: str) -> str:
    return f"{service}'s"


def _shown(headers: Headers) -> str:
    if headers.dport is None:
        return headers.dst
    return f"[{headers.dst}]:{headers.dport}" if headers.family == 6 else f"{headers.dst}:{headers.dport}"


def chain_sentence(
    chain: str, verdict: str, tried: int, passed_over: int, caller: str | None, nearest: str | None = None
) -> str:
    """Return the sentence of a chain that ended without a verdict of its own.

    `nearest` is why the rule did not match that is for this very destination, if the chain has one.
    """
    rules = _count(tried, passed_over)
    if nearest:
        rules += f", not even the one for this very destination, because {nearest}"
    if verdict.startswith("policy"):
        policy = verdict.removeprefix("policy ")
        what = "is dropped, and nobody is told" if policy == "drop" else "goes on"
        return f"{chain}: {rules}, so the chain's policy decides: {policy.upper()}, and the packet {what}."
    back = f"back to {caller}" if caller else "back to the chain that called"
    return f"{chain}: {rules}; the chain is at its end, {back}."


def _count(tried: int, passed_over: int) -> str:
    if tried == 0:
        return "it holds no rules"
    if passed_over == tried:
        return f"none of its {tried} rules matched" if tried > 1 else "its one rule did not match"
    if passed_over == 0:
        return "no rule is left"
    return f"{passed_over} more rules did not match" if passed_over > 1 else "one more rule did not match"
