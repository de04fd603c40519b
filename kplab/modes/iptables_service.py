"""The rules of one service port in iptables mode.

Two kinds: those in shared chains (KUBE-SERVICES and the like) are written at every sync; those in the
service port's own chains are left out of a partial sync while neither the Service nor its endpoints changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Literal

from kplab.modes.endpoints import Categorized, ProxyEndpoint, categorize
from kplab.modes.iptables_settings import Settings
from kplab.modes.names import hash16
from kplab.modes.program import ChainLine, RuleLine, ServiceBlock
from kplab.modes.services import ServicePortView

_SERVICES = "KUBE-SERVICES"
_EXTERNAL = "KUBE-EXTERNAL-SERVICES"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is decided about a service port before any of its rules is written."""

    view: ServicePortView
    found: Categorized
    match: str
    """"-m tcp -p tcp"."""
    svc: str
    svl: str
    ext: str
    fw: str
    has_internal: bool
    has_external: bool
    uses_firewall: bool

    @property
    def internal(self) -> str:
        """The chain that ClusterIP traffic enters."""
        return self.svl if self.view.internal_local else self.svc

    @property
    def external(self) -> str:
        """The chain that external traffic ends in."""
        return self.svl if self.view.external_local else self.svc

    def refusal(self) -> tuple[str, Literal["REJECT", "DROP"]]:
        """Return the comment and the target for traffic that no endpoint can take."""
        if self.found.has_any:
            return f'-m comment --comment "{self.view.owner} has no local endpoints"', "DROP"
        return f'-m comment --comment "{self.view.owner} has no endpoints"', "REJECT"


def service_block(view: ServicePortView, endpoints: tuple[ProxyEndpoint, ...], settings: Settings) -> ServiceBlock:
    """Return one service port's chains and rules, in kube-proxy's order."""
    plan = _plan(view, endpoints, settings)
    chains: list[str] = []
    own: list[tuple[str, str]] = []
    _internal(plan, settings, own)
    _external(plan, settings, chains, own)
    _firewall(plan, settings, chains, own)
    seps = [(e, "KUBE-SEP-" + hash16(view.owner + view.protocol + e.text)) for e in plan.found.reachable]
    _balancers(plan, dict(seps), settings, chains, own)
    _endpoints(plan, seps, settings, chains, own)
    owner = view.owner
    shared = [RuleLine(chain, f"-A {chain} {body}") for chain, body in _captured(plan, settings)]
    return ServiceBlock(
        owner=owner,
        unit=(view, endpoints),
        filter_rules=tuple(RuleLine(chain, f"-A {chain} {body}") for chain, body in _filtered(plan)),
        nat_chains=tuple([ChainLine(name, owner) for name in chains]),
        nat_rules=(*shared, *[RuleLine(chain, f"-A {chain} {body}", owner) for chain, body in own]),
    )


def _plan(view: ServicePortView, endpoints: tuple[ProxyEndpoint, ...], settings: Settings) -> _Plan:
    found = categorize(
        endpoints,
        uses_cluster=view.uses_cluster_endpoints,
        uses_local=view.uses_local_endpoints,
        node=settings.node,
        zone=settings.zone,
    )
    name = hash16(view.owner + view.protocol)
    local = bool(found.local)
    return _Plan(
        view=view,
        found=found,
        match=f"-m {view.protocol} -p {view.protocol}",
        svc=f"KUBE-SVC-{name}",
        svl=f"KUBE-SVL-{name}",
        ext=f"KUBE-EXT-{name}",
        fw=f"KUBE-FW-{name}",
        has_internal=found.has_any and (not view.internal_local or local),
        has_external=found.has_any and (not view.external_local or local),
        uses_firewall=found.has_any and bool(view.load_balancer_vips) and bool(view.source_ranges),
    )


def _captured(plan: _Plan, settings: Settings) -> list[tuple[str, str]]:
    """The service port's rules in nat's shared chains: where its traffic is taken out of the stream."""
    view, match = plan.view, plan.match
    named = f'-m comment --comment "{view.owner}'
    rules = []
    if plan.has_internal:
        to = f"-d {view.cluster_ip} --dport {view.port}"
        rules.append((_SERVICES, f'{named} cluster IP" {match} {to} -j {plan.internal}'))
    if not plan.found.has_any:
        return rules
    for ip in view.external_ips:
        rules.append((_SERVICES, f'{named} external IP" {match} -d {ip} --dport {view.port} -j {plan.ext}'))
    target = plan.fw if plan.uses_firewall else plan.ext
    for ip in view.load_balancer_vips:
        rules.append((_SERVICES, f'{named} loadbalancer IP" {match} -d {ip} --dport {view.port} -j {target}'))
    if view.node_port:
        bare, to = f"-m comment --comment {view.owner}", f"--dport {view.node_port}"
        if settings.localhost_node_ports and settings.nfacct:
            counter = "-m nfacct --nfacct-name localhost_nps_accepted_pkts"
            rules.append(("KUBE-NODEPORTS", f"{bare} {match} -d 127.0.0.0/8 {to} {counter} -j {plan.ext}"))
        rules.append(("KUBE-NODEPORTS", f"{bare} {match} {to} -j {plan.ext}"))
    return rules


def _filtered(plan: _Plan) -> list[tuple[str, str]]:
    """The service port's rules in filter: refusals, the firewall's drop, the health check's port."""
    view, match = plan.view, plan.match
    rules = []
    comment, target = plan.refusal()
    port = f"--dport {view.port}"
    if not plan.has_internal:
        rules.append((_SERVICES, f"{comment} {match} -d {view.cluster_ip} {port} -j {target}"))
    refused = not plan.has_external
    if refused:
        rules += [(_EXTERNAL, f"{comment} {match} -d {ip} {port} -j {target}") for ip in view.external_ips]
    if plan.uses_firewall:
        why = f'-m comment --comment "{view.owner} traffic not accepted by {plan.fw}"'
        rules += [("KUBE-PROXY-FIREWALL", f"{why} {match} -d {ip} {port} -j DROP") for ip in view.load_balancer_vips]
    if refused:
        rules += [(_EXTERNAL, f"{comment} {match} -d {ip} {port} -j {target}") for ip in view.load_balancer_vips]
    if refused and view.node_port:
        here = f"-m addrtype --dst-type LOCAL {match} --dport {view.node_port}"
        rules.append((_EXTERNAL, f"{comment} {here} -j {target}"))
    if view.health_check_node_port:
        why = f'-m comment --comment "{view.owner} health check node port"'
        rules.append(("KUBE-NODEPORTS", f"{why} -m tcp -p tcp --dport {view.health_check_node_port} -j ACCEPT"))
    return rules


def _internal(plan: _Plan, settings: Settings, own: list[tuple[str, str]]) -> None:
    """ClusterIP traffic from outside the cluster (or all of it) is masqueraded."""
    view = plan.view
    if not plan.has_internal or not (settings.masquerade_all or settings.detector):
        return
    outside = "" if settings.masquerade_all or not settings.detector else f" {settings.detector.if_not_local}"
    to = f"{plan.match} -d {view.cluster_ip} --dport {view.port}{outside}"
    own.append((plan.internal, f'-m comment --comment "{view.owner} cluster IP" {to} -j KUBE-MARK-MASQ'))


def _external(plan: _Plan, settings: Settings, chains: list[str], own: list[tuple[str, str]]) -> None:
    """KUBE-EXT: external traffic is masqueraded, or short-circuited when its policy is Local."""
    view, ext = plan.view, plan.ext
    if not plan.found.has_any or not view.externally_accessible:
        return
    chains.append(ext)
    what = f"{view.owner} external destinations"
    if not view.external_local:
        own.append((ext, f'-m comment --comment "masquerade traffic for {what}" -j KUBE-MARK-MASQ'))
    else:
        if settings.detector:
            pods = f'-m comment --comment "pod traffic for {what}" {settings.detector.if_local}'
            own.append((ext, f"{pods} -j {plan.svc}"))
        here = "-m addrtype --src-type LOCAL"
        own.append((ext, f'-m comment --comment "masquerade LOCAL traffic for {what}" {here} -j KUBE-MARK-MASQ'))
        own.append((ext, f'-m comment --comment "route LOCAL traffic for {what}" {here} -j {plan.svc}'))
    if plan.has_external:
        own.append((ext, f"-j {plan.external}"))


def _firewall(plan: _Plan, settings: Settings, chains: list[str], own: list[tuple[str, str]]) -> None:
    """KUBE-FW: the load balancer's source ranges; what falls through is dropped in filter."""
    view, fw = plan.view, plan.fw
    if not plan.uses_firewall:
        return
    chains.append(fw)
    named = f'-m comment --comment "{view.owner} loadbalancer IP"'
    own += [(fw, f"{named} -s {cidr} -j {plan.ext}") for cidr in view.source_ranges]
    if any(ip_address(settings.node_ip) in ip_network(cidr) for cidr in view.source_ranges):
        # A node that holds the VIP itself sends to it from the VIP, so that must be let through too.
        own += [(fw, f"{named} -s {vip} -j {plan.ext}") for vip in view.load_balancer_vips]
    own.append((fw, f'-m comment --comment "other traffic to {view.owner} will be dropped by KUBE-PROXY-FIREWALL"'))


def _balancers(
    plan: _Plan, seps: dict[ProxyEndpoint, str], settings: Settings, chains: list[str], own: list[tuple[str, str]]
) -> None:
    """KUBE-SVC and KUBE-SVL: first the clients that are remembered, then one endpoint in so many."""
    for chain, endpoints in ((plan.svc, plan.found.cluster), (plan.svl, plan.found.local)):
        if endpoints:
            chains.append(chain)
            _balance(chain, endpoints, seps, plan.view, settings, own)


def _balance(
    chain: str, endpoints: Sequence[ProxyEndpoint], seps: dict[ProxyEndpoint, str], view: ServicePortView,
    settings: Settings, own: list[tuple[str, str]],
) -> None:  # fmt: skip
    comments = ["" if settings.large else f'-m comment --comment "{view.owner} -> {e.text}" ' for e in endpoints]
    if view.affinity_seconds is not None:
        for comment, endpoint in zip(comments, endpoints, strict=True):
            sep = seps[endpoint]
            recent = f"-m recent --name {sep} --rcheck --seconds {view.affinity_seconds} --reap"
            own.append((chain, f"{comment}{recent} -j {sep}"))
    left = len(endpoints)
    for comment, endpoint in zip(comments, endpoints, strict=True):
        chance = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
        own.append((chain, f"{comment}{chance}-j {seps[endpoint]}"))
        left -= 1


def _endpoints(
    plan: _Plan, seps: list[tuple[ProxyEndpoint, str]], settings: Settings, chains: list[str],
    own: list[tuple[str, str]],
) -> None:  # fmt: skip
    """KUBE-SEP: a pod that meets itself is masqueraded; then the destination is rewritten."""
    comment = "" if settings.large else f"-m comment --comment {plan.view.owner} "
    sticky = plan.view.affinity_seconds is not None
    for endpoint, sep in seps:
        chains.append(sep)
        own.append((sep, f"{comment}-s {endpoint.ip} -j KUBE-MARK-MASQ"))
        remember = f"-m recent --name {sep} --set " if sticky else ""
        own.append((sep, f"{comment}{remember}{plan.match} -j DNAT --to-destination {endpoint.text}"))
