"""The JSON Schema of what `kplab trace --format json` prints, made from the types themselves.

`docs/journey.schema.json` is its text; a test compares the two, and real journeys are validated against it. The
descriptions are the docstrings that stand under the fields.
"""

from __future__ import annotations

import ast
import inspect
import json
from typing import Any

import msgspec

from kplab.model import journey
from kplab.model.journey import Journey


def journey_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema 2020-12)."""
    schema = msgspec.json.schema(Journey)
    docs = _field_docs()
    for name, definition in schema["$defs"].items():
        for field, described in definition.get("properties", {}).items():
            if text := docs.get((name, field)):
                described["description"] = text
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kplab journey",
        **schema,
    }


def journey_schema_text() -> str:
    """Return the text of docs/journey.schema.json."""
    return json.dumps(journey_schema(), indent=2, ensure_ascii=False) + "\n"


def _field_docs() -> dict[tuple[str, str], str]:
    """Return the string under each annotated field, by class and field."""
    found = {}
    for node in ast.parse(inspect.getsource(journey)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, below in zip(node.body, node.body[1:], strict=False):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if (
                isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[(node.name, field.target.id)] = " ".join(below.value.value.split())
    return found
