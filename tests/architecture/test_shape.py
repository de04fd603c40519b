"""The size and the words of the code: what a reader may count on in every file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.architecture

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "kplab").rglob("*.py"))
TEXTS = [
    path
    for folder in ("kplab", "lessons", "docs", "tests", "benchmarks", "scripts")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".md", ".toml", ".yaml", ".sh", ".tcss"} and "golden" not in path.parts
] + [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml")]
# Put together here, so that this file does not hold what it looks for.
FORBIDDEN = ["../" + "shared", "/work/" + "shared", "/tmp/" + "brief", "TO" + "DO", "FIX" + "ME"]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a module, nested ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def public_nodes(tree: ast.Module) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield public classes, functions and methods."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and not method.name.startswith("_"):
                        yield method


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    """A module has at most 400 lines, a function at most 50."""
    text = path.read_text()
    assert text.count("\n") <= 400
    long = [f"{f.name}: {f.end_lineno - f.lineno + 1}" for f in functions(ast.parse(text)) if f.end_lineno]
    assert not [entry for entry in long if int(entry.rsplit(" ", 1)[1]) > 50]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_public_names_are_documented(path: Path) -> None:
    """Every public class, function and method says what it is for."""
    tree = ast.parse(path.read_text())
    bare = [node.name for node in public_nodes(tree) if ast.get_docstring(node) is None and not _inherits(node)]
    assert not bare


def _inherits(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Textual's own hooks (compose, on_…, watch_…, render…) need no words of their own."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and bool(
        re.match(r"(compose|render|on_|watch_|validate_|action_|key_|check_action|get_content_|render_line)", node.name)
    )


def test_no_module_is_a_drawer_for_everything() -> None:
    """No utils, no helpers, no managers."""
    assert not [p for p in MODULES if re.search(r"utils|helper|manager|common|misc", p.stem)]


def test_nothing_is_unfinished_or_points_outside() -> None:
    """No file speaks of unfinished work, or of places that a reader does not have."""
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in TEXTS
        if path.exists()
        for word in FORBIDDEN
        if word in path.read_text()
    ]
    assert not found


def test_catching_everything_is_kept_to_the_edges() -> None:
    """`except Exception` stands at the agent's loop, the screen's worker and the command line only.

    Elsewhere a handler may tidy up after any exception, if it raises the same one again.
    """
    allowed = {"kplab/agent", "kplab/tui/feed.py", "kplab/cli/main.py"}
    found = []
    for path in MODULES:
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text())):
            everything = isinstance(node, ast.ExceptHandler) and (
                node.type is None
                or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
            )
            if everything and not _raises_again(node) and not any(name.startswith(a) for a in allowed):
                found.append(name)
    assert not found


def _raises_again(node: ast.AST) -> bool:
    last = node.body[-1] if isinstance(node, ast.ExceptHandler) else None
    return isinstance(last, ast.Raise) and last.exc is None
