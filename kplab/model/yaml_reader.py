"""Read YAML values with the place of each: what an error message about a user's file needs.

The documents are composed to PyYAML's nodes and never constructed: a node knows its line, and a key that
stands twice is still there to be seen. `Reader` turns nodes into checked Python values; whatever does not
fit raises one error that names file, line, field, what was expected and what was found.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NoReturn

import yaml
from yaml.events import CollectionEndEvent, CollectionStartEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from kplab.errors import UsageError

Fields = dict[str, Node]

_TAG = "tag:yaml.org,2002:"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(0x[0-9a-fA-F]{1,16}|0o?[0-7]{1,20}|0|[1-9][0-9]{0,18})")
_NOT_TEXT = {_TAG + "int": "the number", _TAG + "float": "the number", _TAG + "bool": "the boolean"}
_TRUE, _FALSE = {"true", "yes", "on"}, {"false", "no", "off"}
_SLACK = 100_000
_DEEPEST_MERGE = 20
_DEEPEST = 200
"""Levels of nesting; libyaml's composer calls itself for each, and tens of thousands would end the process."""
_MAY_BE_DEEP = re.compile(r"[^\n]{200}")
"""Block nesting needs a column of indentation every two levels, so deep text has long lines, or brackets."""

ErrorOf = Callable[[str, str, str, int, str], UsageError]
"""Makes an error of: where (file, line, object, field), what happened, a hint, the line, the field."""


def split_documents(text: str) -> Iterator[tuple[str, int]]:
    """Cut YAML text at its `---` lines: (document, line on which it starts, from 0).

    A marker at the start of a line ends a document wherever it stands, so no parser is needed; anchors do
    not reach across documents. Text with directives (`%YAML`) is not cut.
    """
    if re.search(r"^%", text, re.MULTILINE):
        yield text, 0
        return
    start = line = 0
    for marker in re.finditer(r"^---(?=\s|\Z)", text, re.MULTILINE):
        if marker.start() > start:
            yield text[start : marker.start()], line
            line += text.count("\n", start, marker.start())
            start = marker.start()
    yield text[start:], line


class Reader:
    """Reads the nodes of one document of one file; `subject` is the object that messages are about."""

    def __init__(self, file: str, first_line: int, size: int, error: ErrorOf) -> None:
        self.file = file
        self.subject = ""
        self._first_line = first_line
        self._error = error
        # Without aliases a value takes two characters at least, so more values than that are repeats.
        self._budget = size // 2 + _SLACK

    def compose(self, text: str) -> list[Node]:
        """Return the root nodes of YAML text, empty documents left out."""
        try:
            self._check_depth(text)
            loader = _LOADER(text)
        except (yaml.YAMLError, UnicodeError) as error:
            self._syntax(error, text)
        roots: list[Node] = []
        try:
            while loader.check_node():
                root = loader.get_node()
                if root is not None and not _is_null(root):
                    roots.append(root)
        except (yaml.YAMLError, UnicodeError) as error:
            self._syntax(error, text)
        finally:
            loader.dispose()
        return roots

    def line(self, node: Node) -> int:
        """Return the line of a node in its file, from 1."""
        return int(node.start_mark.line) + self._first_line + 1

    def refuse(self, node: Node, path: str, happened: str, hint: str = "") -> NoReturn:
        """Raise the error that says where a value stands and what is wrong with it."""
        line = self.line(node)
        where = ": ".join(part for part in (f"{self.file}:{line}", self.subject, path) if part)
        raise self._error(where, happened, hint, line, path)

    def expected(self, node: Node, path: str, what: str, hint: str = "") -> NoReturn:
        """Raise the error that says what was expected, and what stands there."""
        self.refuse(node, path, f"expected {what}, found {describe(node)}", hint)

    def fields(self, node: Node, path: str, known: Collection[str] | None = None) -> Fields:
        """Return a mapping's values by key, nulls left out; with `known`, any other key is an error."""
        if not isinstance(node, MappingNode):
            self.expected(node, path, "a mapping (name: value)")
        found: Fields = {}
        merged = False
        for key, value in node.value:
            name = key.value
            if key.tag == _TAG + "merge":
                merged = True
                continue
            if not isinstance(key, ScalarNode):
                self.expected(key, path, "a field name")
            if name in found:
                self.refuse(key, _join(path, name), "this field is given twice", "Remove one of the two.")
            if known is not None and name not in known:
                self._unknown(key, path, name, known)
            found[name] = value
        self._spend(node, path, len(node.value))
        if merged:
            found = {**self._merged(node, path, 0), **found}
        return {name: value for name, value in found.items() if not _is_null(value)}

    def items(self, node: Node | None, path: str) -> Sequence[Node]:
        """Return a list's items; None is an empty list."""
        if node is None:
            return ()
        if not isinstance(node, SequenceNode):
            self.expected(node, path, "a list (- item)")
        self._spend(node, path, len(node.value))
        items: list[Node] = node.value
        return items

    def text(self, node: Node, path: str) -> str:
        """Return a string; a number or a boolean without quotes is not one."""
        if not isinstance(node, ScalarNode):
            self.expected(node, path, "a string")
        if node.tag in _NOT_TEXT:
            hint = f'In YAML this is not a string; write "{node.value}", in quotes.'
            self.refuse(node, path, f"expected a string, found {_NOT_TEXT[node.tag]} {node.value}", hint)
        value: str = node.value
        return value

    def integer(self, node: Node, path: str, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`."""
        if isinstance(node, ScalarNode) and node.tag == _TAG + "int" and _INTEGER.fullmatch(node.value):
            digits = node.value.lower()
            octal = re.fullmatch(r"[-+]?0o?[0-7]+", digits) and digits.lstrip("+-") != "0"
            value = int(digits.replace("o", ""), 8) if octal else int(digits, 0)
            if low <= value <= high:
                return value
        self.expected(node, path, f"a number from {low} to {high}")

    def boolean(self, node: Node, path: str) -> bool:
        """Return true or false."""
        value = node.value.lower() if isinstance(node, ScalarNode) and node.tag == _TAG + "bool" else ""
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        self.expected(node, path, "true or false")

    def choice(self, node: Node, path: str, options: Sequence[str]) -> str:
        """Return one of `options`, spelled exactly so."""
        if isinstance(node, ScalarNode) and node.value in options:
            value: str = node.value
            return value
        self.expected(node, path, f"{', '.join(options[:-1])} or {options[-1]}" if len(options) > 1 else options[0])

    def matching(self, node: Node, path: str, pattern: re.Pattern[str], what: str) -> str:
        """Return a string that a pattern matches in full; `what` names it in the message."""
        value = self.text(node, path)
        if not pattern.fullmatch(value):
            self.expected(node, path, what)
        return value

    def _merged(self, node: MappingNode, path: str, depth: int) -> Fields:
        """Return what the `<<` keys of a mapping bring in; the first of several wins, as YAML's merge key says."""
        found: Fields = {}
        if depth > _DEEPEST_MERGE:
            self.refuse(node, path, "merge keys (<<) are nested too deep", "Write the fields out.")
        for key, value in node.value:
            if key.tag != _TAG + "merge":
                continue
            for source in value.value if isinstance(value, SequenceNode) else [value]:
                if not isinstance(source, MappingNode):
                    self.expected(source, _join(path, "<<"), "a mapping to merge")
                own = {k.value: v for k, v in source.value if isinstance(k, ScalarNode) and k.tag != _TAG + "merge"}
                self._spend(source, path, 1 + len(own))
                for name, item in {**self._merged(source, path, depth + 1), **own}.items():
                    found.setdefault(name, item)
        return found

    def _spend(self, node: Node, path: str, values: int) -> None:
        self._budget -= values
        if self._budget < 0:
            self.refuse(
                node, path, "aliases repeat more values than the file has room for", "Write the values out once each."
            )

    def _unknown(self, key: Node, path: str, name: str, known: Collection[str]) -> NoReturn:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        lower = [other for other in known if other.lower() == name.lower()]
        hint = f"Did you mean {(lower or close)[0]}?" if lower or close else f"Known here: {', '.join(sorted(known))}."
        self.refuse(key, _join(path, name), "there is no such field", hint)

    def _check_depth(self, text: str) -> None:
        """Refuse text that is nested too deep to be composed, by its events, which need no recursion."""
        if text.count("[") + text.count("{") < _DEEPEST and not _MAY_BE_DEEP.search(text):
            return
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, CollectionStartEvent):
                depth += 1
                if depth > _DEEPEST:
                    hint = "A Kubernetes object has a dozen levels at most."
                    line = self._first_line + 1 + (event.start_mark.line if event.start_mark else 0)
                    where = f"{self.file}:{line}: this cannot be read"
                    raise self._error(where, f"it is nested more than {_DEEPEST} levels deep", hint, line, "")
            elif isinstance(event, CollectionEndEvent):
                depth -= 1

    def _syntax(self, error: Exception, text: str) -> NoReturn:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        inside = int(mark.line) if mark is not None else 0
        line = inside + self._first_line + 1
        problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
        wrong = text.split("\n")[inside : inside + 1]
        hint = "YAML is indented with spaces; there is a tab on this line." if wrong and "\t" in wrong[0] else ""
        raise self._error(f"{self.file}:{line}: this is not YAML", " ".join(problem.split()), hint, line, "")


def describe(node: Node) -> str:
    """Say what stands at a node: a value, shortened, or what kind of thing it is."""
    if isinstance(node, SequenceNode):
        return "a list"
    if isinstance(node, MappingNode):
        return "a mapping"
    if _is_null(node):
        return "nothing"
    value = str(node.value)
    return repr(value if len(value) <= 60 else value[:57] + "...")


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == _TAG + "null"


def _join(path: str, name: str) -> str:
    short = name if len(name) <= 60 else name[:57] + "..."
    return f"{path}.{short}" if path else short
