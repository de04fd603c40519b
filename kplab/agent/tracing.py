"""Keeps the lab's own tracing rules in each node: a student's `nft flush ruleset` takes them away like any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kplab.capture.handles import read_generation
from kplab.capture.tracing import tracing_ruleset
from kplab.lab.netns import NetworkNamespaces
from kplab.lab.run import Runner
from kplab.model.topology import Namespace
from kplab.trace.recording import Backend


class TracingRules:
    """Loads the tracing rules, and loads them again where the node's ruleset has changed since."""

    def __init__(self, namespaces: NetworkNamespaces, runner: Runner, backend: Backend) -> None:
        self._namespaces = namespaces
        self._runner = runner
        self._backend = backend
        self._generations: dict[str, int] = {}

    def load(self, places: Sequence[Namespace]) -> None:
        """Load them before anybody else writes any rule.

        Raises:
            ProgramError: nft failed.
        """
        for place in places:
            rules = tracing_ruleset(place.role, self._backend)
            if rules:
                with self._namespaces.entered(place.name):
                    self._runner.run(["nft", "-f", "-"], rules)

    def ensure(self, nodes: Sequence[Namespace], flushed: Callable[[str], None]) -> None:
        """Load them again in nodes whose ruleset has another generation than when we last looked.

        `flushed` is told each such node: what else we had there may be gone too.

        Raises:
            CaptureError: the generation cannot be read. ProgramError: nft failed.
        """
        for node in nodes:
            with self._namespaces.entered(node.name):
                if self._generations.get(node.name) == read_generation():
                    continue
                self._runner.run(["nft", "-f", "-"], tracing_ruleset(node.role, self._backend))
                self._generations[node.name] = read_generation()
            flushed(node.name)
