"""One service port's share of the nftables table: its elements in the shared sets and maps, and its own chains.

Follows the loop of syncProxyRules of pkg/proxy/nftables/proxier.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from kplab.modes.endpoints import Categorized, ProxyEndpoint, categorize
from kplab.modes.nft_objects import NftChain, NftElement, NftRule, NftSet
from kplab.modes.nft_program import NftBlock, new_block
from kplab.modes.nftables_names import AFFINITY_PREFIX, endpoint_base, service_base, service_path
from kplab.modes.nftables_settings import NftSettings
from kplab.modes.services import ServicePortView

_REJECT = "goto reject-chain"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is decided about a service port before any of it is written."""

    view: ServicePortView
    found: Categorized
    base: str
    bases: dict[ProxyEndpoint, str]
    """The endpoints' names; empty without ClientIP affinity, where endpoints have no chains."""
    has_internal: bool
    has_external: bool

    @property
    def service(self) -> str:
        """The chain for policy Cluster."""
        return f"service-{self.base}"

    @property
    def local(self) -> str:
        """The chain for policy Local."""
        return f"local-{self.base}"

    @property
    def external(self) -> str:
        """The chain for traffic from outside."""
        return f"external-{self.base}"

    @property
    def firewall(self) -> str:
        """The chain for source ranges."""
        return f"firewall-{self.base}"

    @property
    def uses_external(self) -> bool:
        """There is traffic from outside, and an endpoint somewhere: pods and the node itself may use any."""
        return self.found.has_any and self.view.externally_accessible

    @property
    def uses_firewall(self) -> bool:
        """Source ranges count, with endpoints or without."""
        return bool(self.view.load_balancer_vips and self.view.source_ranges)

    @property
    def refusal(self) -> str:
        """What becomes of traffic that no endpoint can take."""
        return "drop" if self.found.has_any else _REJECT


def service_block(view: ServicePortView, endpoints: tuple[ProxyEndpoint, ...], settings: NftSettings) -> NftBlock:
    """Return one service port's block."""
    plan = _plan(view, endpoints, settings)
    opening: list[NftChain | NftElement] = []
    _endpoint_openings(plan, opening)
    opening += [NftChain(name) for name in _policy_chains(plan)]
    _captured(plan, opening)
    filling: list[NftRule | NftSet] = []
    _external(plan, settings, filling)
    _firewall(plan, settings, filling)
    _affinity_sets(plan, settings, filling)
    for chain, chosen in ((plan.service, plan.found.cluster), (plan.local, plan.found.local)):
        if chosen:
            _balance(plan, chain, chosen, settings, filling)
    _endpoint_rules(plan, settings, filling)
    return new_block(view.owner, (view, endpoints), opening, filling)


def _plan(view: ServicePortView, endpoints: tuple[ProxyEndpoint, ...], settings: NftSettings) -> _Plan:
    found = categorize(
        endpoints,
        uses_cluster=view.uses_cluster_endpoints,
        uses_local=view.uses_local_endpoints,
        node=settings.node,
        zone=settings.zone,
    )
    bases = {}
    if view.affinity_seconds is not None:
        path = service_path(view.key)
        bases = {e: endpoint_base(path, e.ip, e.port) for e in found.reachable}
    local = bool(found.local)
    return _Plan(
        view=view,
        found=found,
        base=service_base(view.key),
        bases=bases,
        has_internal=found.has_any and (not view.internal_local or local),
        has_external=found.has_any and (not view.external_local or local),
    )


def _endpoint_openings(plan: _Plan, opening: list[NftChain | NftElement]) -> None:
    """A chain an endpoint under ClientIP affinity; the pairs by which a pod that meets itself is known."""
    protocol = plan.view.protocol
    for endpoint in plan.found.reachable:
        if plan.bases:
            opening.append(NftChain(f"endpoint-{plan.bases[endpoint]}"))
        if endpoint.local:
            pair = f"{endpoint.ip} . {endpoint.ip} . {protocol} . {endpoint.port}"
            opening.append(NftElement("hairpin-connections", pair))


def _policy_chains(plan: _Plan) -> list[str]:
    chains = []
    if plan.found.cluster:
        chains.append(plan.service)
    if plan.found.local:
        chains.append(plan.local)
    if plan.uses_external:
        chains.append(plan.external)
    return chains


def _captured(plan: _Plan, opening: list[NftChain | NftElement]) -> None:
    """The elements that take the service port's traffic out of the stream, or refuse it."""
    view, refusal = plan.view, plan.refusal
    port = f"{view.protocol} . {view.port}"
    out, has_any = f"goto {plan.external}", plan.found.has_any
    opening.append(NftElement("cluster-ips", view.cluster_ip))
    if plan.has_internal:
        inside = plan.local if view.internal_local else plan.service
        opening.append(NftElement("service-ips", f"{view.cluster_ip} . {port}", f"goto {inside}"))
    else:
        opening.append(NftElement("no-endpoint-services", f"{view.cluster_ip} . {port}", refusal, view.owner))
    for ip in view.external_ips:
        if has_any:
            opening.append(NftElement("service-ips", f"{ip} . {port}", out))
        if not plan.has_external:
            opening.append(NftElement("no-endpoint-services", f"{ip} . {port}", refusal, view.owner))
    if plan.uses_firewall:
        opening.append(NftChain(plan.firewall))
    for ip in view.load_balancer_vips:
        if has_any:
            opening.append(NftElement("service-ips", f"{ip} . {port}", out))
        if plan.uses_firewall:
            opening.append(NftElement("firewall-ips", f"{ip} . {port}", f"goto {plan.firewall}"))
    if not plan.has_external:
        for ip in view.load_balancer_vips:
            opening.append(NftElement("no-endpoint-services", f"{ip} . {port}", refusal, view.owner))
    if view.node_port:
        key = f"{view.protocol} . {view.node_port}"
        if has_any:
            opening.append(NftElement("service-nodeports", key, out))
        if not plan.has_external:
            opening.append(NftElement("no-endpoint-nodeports", key, refusal, view.owner))


def _external(plan: _Plan, settings: NftSettings, filling: list[NftRule | NftSet]) -> None:
    """Traffic from outside is masqueraded, or short-circuited when its policy is Local."""
    if not plan.uses_external:
        return
    chain, mark = plan.external, f"mark set mark or {settings.mark}"
    if not plan.view.external_local:
        filling.append(NftRule(chain, mark, "masquerade"))
    else:
        if settings.detector:
            pods = f"{settings.detector.nft_if_local} goto {plan.service}"
            filling.append(NftRule(chain, pods, "short-circuit pod traffic"))
        here = "fib saddr type local"
        filling.append(NftRule(chain, f"{here} {mark}", "masquerade local traffic"))
        filling.append(NftRule(chain, f"{here} goto {plan.service}", "short-circuit local traffic"))
    if plan.has_external:
        filling.append(NftRule(chain, f"goto {plan.local if plan.view.external_local else plan.service}"))


def _firewall(plan: _Plan, settings: NftSettings, filling: list[NftRule | NftSet]) -> None:
    """What comes from none of the load balancer's source ranges is dropped, before any DNAT."""
    view = plan.view
    if not plan.uses_firewall:
        return
    sources = list(view.source_ranges)
    if any(ip_address(settings.node_ip) in ip_network(cidr) for cidr in view.source_ranges):
        # A node that holds the VIP itself sends to it from the VIP, so that must be let through too.
        sources += view.load_balancer_vips
    filling.append(NftRule(plan.firewall, f"{settings.ip} saddr != {{ {' , '.join(sources)} }} drop"))


def _affinity_sets(plan: _Plan, settings: NftSettings, filling: list[NftRule | NftSet]) -> None:
    for base in plan.bases.values():
        name, seconds = f"{AFFINITY_PREFIX}{base}", plan.view.affinity_seconds
        flags = ("dynamic", "timeout")
        filling.append(NftSet("set", name, settings.address_type, flags=flags, timeout_seconds=seconds))


def _balance(
    plan: _Plan, chain: str, endpoints: Sequence[ProxyEndpoint], settings: NftSettings, filling: list[NftRule | NftSet]
) -> None:
    """First the clients that are remembered; then one endpoint by chance, from a map of numbers."""
    chance = f"numgen random mod {len(endpoints)}"
    if plan.bases:
        for endpoint in endpoints:
            base = plan.bases[endpoint]
            filling.append(NftRule(chain, f"{settings.ip} saddr @{AFFINITY_PREFIX}{base} goto endpoint-{base}"))
        ways = " , ".join([f"{i} : goto endpoint-{plan.bases[e]}" for i, e in enumerate(endpoints)])
        filling.append(NftRule(chain, f"{chance} vmap {{ {ways} }}"))
        return
    ways = " , ".join([f"{i} : {e.ip} . {e.port}" for i, e in enumerate(endpoints)])
    dnat = f"meta l4proto {plan.view.protocol} dnat {settings.ip} addr . port to"
    filling.append(NftRule(chain, f"{dnat} {chance} map {{ {ways} }}"))


def _endpoint_rules(plan: _Plan, settings: NftSettings, filling: list[NftRule | NftSet]) -> None:
    """Under ClientIP affinity an endpoint's own chain notes the client, then rewrites the destination."""
    for endpoint, base in plan.bases.items():
        chain = f"endpoint-{base}"
        filling.append(NftRule(chain, f"update @{AFFINITY_PREFIX}{base} {{ {settings.ip} saddr }}"))
        filling.append(NftRule(chain, f"meta l4proto {plan.view.protocol} dnat to {endpoint.text}"))
