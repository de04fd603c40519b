"""The chains drawn: networkx has the graph, graphviz lays it out; the packet's way is lit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kplab.errors import NotInstalledError
from kplab.jupyter.chains import Place
from kplab.jupyter.installed import require

if TYPE_CHECKING:
    import networkx

SHOWN = 4
"""Targets of a chain that are drawn beside the lit ones, before the rest becomes one box with their number."""
_LISTS = ("KUBE-SERVICES", "KUBE-NODEPORTS")
_LIT, _DIM = "#d62728", "#8a8a8a"


@dataclass(frozen=True, slots=True)
class ChainGraph:
    """A node's chains, and the way of a packet through them. Shows itself as a picture."""

    node: str
    networkx: networkx.DiGraph[Place]
    """Nodes are (table, chain); see `lit`, `begins`, `chain` of nodes, and `rules`, `label`, `lit` of edges."""
    whole: bool = False

    @property
    def way(self) -> tuple[Place, ...]:
        """The chains that the packet walked; empty without a journey."""
        return tuple(place for place, is_lit in self.networkx.nodes(data="lit") if is_lit)

    def svg(self) -> str:
        """Return the picture.

        Raises:
            NotInstalledError: graphviz, or its program `dot`, is not there.
        """
        require("draw the chains", "graphviz")
        import graphviz

        try:
            drawn = graphviz.Source(self.dot()).pipe(format="svg", encoding="utf-8")
        except graphviz.ExecutableNotFound:
            raise NotInstalledError(
                "draw the chains", "the program `dot` is not installed", "apt-get install graphviz"
            ) from None
        return str(drawn).replace("<svg ", '<svg style="max-width:100%;height:auto" ', 1)

    def dot(self) -> str:
        """Return the picture in graphviz's own language."""
        return dot_of(self.networkx, whole=self.whole)

    def __repr__(self) -> str:
        graph = self.networkx
        chains = sum(bool(told["chain"]) for _, told in graph.nodes(data=True))
        lines = [f"{self.node}: {chains} chains, {graph.number_of_edges()} ways between them"]
        for source, target, edge in graph.edges(data=True):
            if edge["lit"]:
                rules = ", ".join(map(str, edge["rules"]))
                lines.append(f"  {' '.join(source)} → {target[1]}   (rule {rules})")
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"image/svg+xml": self.svg(), "text/plain": repr(self)}


def dot_of(graph: networkx.DiGraph[Place], *, whole: bool) -> str:
    """Write the part that is to be seen: what the kernel begins with and leads somewhere, and all that follows.

    Without `whole` a lit graph has only chains on the packet's way, with a few of the targets that it did not take.
    """
    way = [place for place, is_lit in graph.nodes(data="lit") if is_lit]
    begins = [place for place, begin in graph.nodes(data="begins") if begin and graph.out_degree(place)]
    open_places = [place for place in begins if not way or whole or graph.nodes[place]["lit"]]
    lines = [
        "digraph chains {",
        '  rankdir=LR; nodesep=0.12; ranksep=0.5; bgcolor="white";',
        '  node [shape=box, fontname="monospace", fontsize=10, height=0.25, margin="0.08,0.04"];',
        '  edge [fontname="monospace", fontsize=8, arrowsize=0.6];',
    ]
    seen: set[Place] = set()
    while open_places:
        place = open_places.pop()
        if place in seen:
            continue
        seen.add(place)
        lines.append(_node(graph, place))
        targets = list(graph.successors(place))
        shown = targets if whole else _chosen(graph, place, targets)
        for target in shown:
            lines.append(_edge(graph, place, target))
            if graph.nodes[target]["chain"]:
                follow = whole or not way or graph.nodes[target]["lit"]
                open_places += [target] if follow else []
            if target not in seen and not (graph.nodes[target]["chain"] and target in open_places):
                lines.append(_node(graph, target))
        hidden = len(targets) - len(shown)
        if hidden:
            lines.append(f"  {_id(place, 'more')} [label={_quoted(f'… {hidden} more')}, shape=plaintext];")
            lines.append(f'  {_id(place)} -> {_id(place, "more")} [color="{_DIM}", style=dashed];')
    return "\n".join([*dict.fromkeys(lines), "}", ""])


def _chosen(graph: networkx.DiGraph[Place], place: Place, targets: list[Place]) -> list[Place]:
    """Keep the lit targets, and so many of the others that one box more would not be smaller."""
    others = [target for target in targets if not graph.edges[place, target]["lit"]]
    kept = set(others if len(others) <= SHOWN + 1 else others[:SHOWN])
    return [target for target in targets if graph.edges[place, target]["lit"] or target in kept]


def _node(graph: networkx.DiGraph[Place], place: Place) -> str:
    told = graph.nodes[place]
    table, name = place
    label = f"{table} {name}" if told["begins"] else name
    style = ["bold" if told["begins"] else "solid"]
    options = [f"label={_quoted(label)}"]
    if told["lit"]:
        options += [f'color="{_LIT}"', 'fillcolor="#fdecec"', "penwidth=2"]
        style.append("filled")
    if not told["chain"]:
        style.append("rounded")
    return f'  {_id(place)} [{", ".join(options)}, style="{",".join(style)}"];'


def _edge(graph: networkx.DiGraph[Place], source: Place, target: Place) -> str:
    told = graph.edges[source, target]
    rules: Iterable[int] = told["rules"]
    numbers = ",".join(map(str, rules)) if len(told["rules"]) <= SHOWN else f"{len(told['rules'])} rules"
    # "demo/web:http cluster IP": in the list of Services, which of them it is.
    service = told["label"].split(" ")[0] if source[1] in _LISTS else ""
    label = _quoted(f"{numbers}: {service}" if "/" in service else numbers)
    look = f'color="{_LIT}", fontcolor="{_LIT}", penwidth=2' if told["lit"] else f'color="{_DIM}"'
    return f"  {_id(source)} -> {_id(target)} [label={label}, {look}];"


def _id(place: Place, suffix: str = "") -> str:
    return _quoted("/".join((*place, suffix)))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
