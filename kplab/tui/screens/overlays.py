"""What lies over the screen for a moment: help, a list to choose from, the inside of a box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Label, Markdown, OptionList, Static
from textual.widgets.option_list import Option

from kplab.model.journey import Hop
from kplab.model.topology import Namespace
from kplab.scene.lookups import counted
from kplab.trace.recording import NodeState
from kplab.tui.help import Help
from kplab.tui.paint.story import EVIDENCE, MEANING


class TextScreen(ModalScreen[None]):
    """A text over the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark", "dismiss(None)", "close", id="text.close", tooltip="Close this"),
    ]

    def __init__(self, title: str, body: str, *, markdown: bool = True) -> None:
        super().__init__()
        self._title, self._body, self._markdown = title, body, markdown

    def compose(self) -> ComposeResult:
        """Title, text, and how to leave."""
        with Vertical(classes="overlay"):
            yield Label(self._title, classes="overlay-title", markup=False)
            with VerticalScroll():
                yield Markdown(self._body, open_links=False) if self._markdown else Static(self._body, markup=False)
            yield Label("Esc closes", classes="overlay-foot")


class ChooseScreen(ModalScreen[str | None]):
    """A list to choose from; gives the chosen value, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "close", id="choose.close", tooltip="Choose nothing"),
    ]

    def __init__(self, title: str, options: Sequence[tuple[str, str]], chosen: str = "") -> None:
        super().__init__()
        self._title = title
        self._labels = [label for label, _ in options]
        self._values = [value for _, value in options]
        self._chosen = self._values.index(chosen) if chosen in self._values else 0

    def compose(self) -> ComposeResult:
        """Title, list, and how to leave."""
        with Vertical(classes="overlay small"):
            yield Label(self._title, classes="overlay-title", markup=False)
            options = OptionList(*(Option(label) for label in self._labels), markup=False, compact=True)
            options.highlighted = self._chosen
            yield options
            yield Label("↑ ↓ move · ⏎ choose · Esc closes", classes="overlay-foot")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Give the value."""
        self.dismiss(self._values[event.option_index])


def help_text(helps: Sequence[Help]) -> str:
    """Return the help of several panels as one text."""
    return "\n\n".join(f"## {one.title}\n\n{one.body}" for one in helps)


def inside_text(namespace: Namespace, state: NodeState | None) -> str:
    """Return what is in a box: its addresses, routes, listeners; of a node, its tables as they were read."""
    rows = [f"{namespace.role}" + (f" on {namespace.node}" if namespace.node else "")]
    if namespace.kubernetes_name:
        rows.append(f"Pod {namespace.kubernetes_name}")
    rows += ["", "addresses"]
    rows += [f"  {i.name:<14} {' '.join(i.addresses) or '(none)'}" for i in namespace.interfaces]
    rows += ["", "routes"]
    if state is not None and state.routes:
        rows += [f"  {route}" for route in state.routes]
    else:
        rows += [f"  {r.destination}{f' via {r.via}' if r.via else ''} dev {r.device}" for r in namespace.routes] or [
            "  (none)"
        ]
    if namespace.listeners:
        rows += ["", "listens on"]
        rows += [f"  {one.protocol} {one.port}  {one.kind}" for one in namespace.listeners]
    if state is not None:
        rows += ["", "tables (iptables-save)"]
        for save in state.saves:
            rules = sum(1 for text in save.text.splitlines() if text.startswith("-A "))
            chains = sum(1 for text in save.text.splitlines() if text.startswith(":"))
            rows.append(f"  IPv{save.family} {save.backend}: {rules:,} rules in {chains:,} chains   (u: read them)")
        table = state.conntrack_after or state.conntrack_before
        rows += ["", f"conntrack: {len(table):,} entries"]
        rows += [f"  {' '.join(text.split())}" for text in table[:8]]
    return "\n".join(rows)


def hop_text(hop: Hop) -> str:
    """Return all of a hop: the sentence in full, the rule verbatim, headers before and after, how we know."""
    rows = [hop.text, ""]
    rows += [f"where     {' ▸ '.join(filter(None, (hop.node, hop.hook, hop.table, hop.chain)))}"]
    if hop.rule is not None:
        rows += [f"rule {hop.rule_number or '?':<4} {hop.rule}"]
    if hop.tried:
        rows += [f"tried     {hop.tried:,} rules of this chain, {len(hop.skipped):,} passed over since the last match"]
    if hop.verdict is not None:
        rows += [f"verdict   {hop.verdict}"]
    for name, flow in (("before", hop.before), ("after", hop.after)):
        rows += [f"{name:<9} {flow.proto} {flow.src} → {flow.dst}   mark {flow.mark:#x}"]
    if hop.conntrack is not None:
        rows += [f"conntrack {hop.conntrack.change}: {' '.join(hop.conntrack.line.split())}"]
    if hop.lookup is not None:
        rows += [f"lookup    {hop.lookup.map}, {counted(hop.lookup)}", f"  key     {hop.lookup.key}"]
        rows += [f"  answer  {hop.lookup.element or 'no element'}"]
    if hop.ipvs is not None:
        rows += [f"IPVS      {hop.ipvs.virtual_server}, scheduler {hop.ipvs.scheduler}, chose {hop.ipvs.chosen}"]
    rows += [f"evidence  {EVIDENCE[hop.evidence]} {hop.evidence}: {MEANING[hop.evidence]}"]
    if hop.disagreement is not None:
        rows += ["", f"! model and kernel disagree: {hop.disagreement}"]
    return "\n".join(rows)
