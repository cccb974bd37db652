# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Generate the page of all routes from the OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_HEAD = """\
# All routes

Look up every route and object here. For rights, errors and examples see [REST](../rest.md).

This page is generated from the OpenAPI document, which the server returns at `/batchy/api/v1/openapi.json`. Paths
are below `/batchy`.
"""
_METHODS = ("get", "post", "put", "patch", "delete", "head")


def routes_page(document: Mapping[str, Any]) -> str:
    """Return the page as Markdown."""
    found = [
        (method, path, operations[method])
        for path, operations in document["paths"].items()
        for method in _METHODS
        if method in operations
    ]
    common = _common(operation["responses"] for _, _, operation in found)
    parts = [_HEAD, "## Errors of all routes { #errors }\n", f"{_statuses(common)}\n"]
    parts += [_operation(method, path, operation, common) for method, path, operation in found]
    parts.append("## Objects\n")
    parts += [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return "\n".join(parts)


def _common(all_responses: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the answers that all routes have in common."""
    first, *rest = all_responses
    return {status: answer for status, answer in first.items() if all(each.get(status) == answer for each in rest)}


def _statuses(answers: Mapping[str, Any]) -> str:
    rows = [f"| {status} | {_answer(answer)} |" for status, answer in sorted(answers.items())]
    return "| status | answer |\n|---|---|\n" + "\n".join(rows) + "\n"


def _operation(method: str, path: str, operation: Mapping[str, Any], common: Mapping[str, Any]) -> str:
    parts = [f"## {method.upper()} {path} {{ #{method}{_slug(path)} }}\n"]
    text = operation.get("description") or operation.get("summary") or ""
    if text:
        parts.append(f"{_escaped(text)}\n")
    if parameters := operation.get("parameters"):
        rows = [
            f"| `{each['name']}` | {each['in']} | {_form(each['schema'])} | "
            f"{'required' if each.get('required') else _default(each['schema'])} | "
            f"{_cell(each.get('description', ''))} |"
            for each in parameters
        ]
        parts.append("| parameter | in | value | default | |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n")
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"Body, `{kind}`: {_form(content.get('schema', {}))}\n")
    parts.append(_statuses({status: it for status, it in operation["responses"].items() if status not in common}))
    return "\n".join(parts)


def _answer(answer: Mapping[str, Any]) -> str:
    forms = [_form(content.get("schema") or {}) for content in answer.get("content", {}).values()]
    text = _cell(answer.get("description", "").removeprefix("Successful Response")).rstrip(".")
    found = ", ".join(dict.fromkeys(form for form in forms if form not in ("anything", "object")))
    return f"{text}: {found}" if found and text else found or text


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    text, described = _docstring(schema.get("description", ""))
    head = f"### {name} {{ #{name.lower()} }}\n\n" + (f"{_escaped(text)}\n\n" if text else "")
    if "enum" in schema or "properties" not in schema:
        return f"{head}{_form(schema)}\n"
    required = set(schema.get("required", ()))
    rows = [
        f"| `{key}` | {_form(value)} | {'required' if key in required else _default(value)} "
        f"| {_cell(value.get('description') or described.get(key, ''))} |"
        for key, value in schema["properties"].items()
    ]
    return f"{head}| key | value | default | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into its text and the texts of its fields."""
    whole, *fields = re.split(r"^\s*:param (\w+):", text, flags=re.MULTILINE)
    return whole.strip(), dict(zip(fields[::2], fields[1::2], strict=True))


def _form(schema: Mapping[str, Any]) -> str:
    """Describe the possible values, on one line of a table."""
    return " or ".join(dict.fromkeys(_forms(schema))) or "anything"


def _forms(schema: Mapping[str, Any]) -> Iterator[str]:
    if reference := schema.get("$ref"):
        name = reference.rsplit("/", 1)[1]
        yield f"[{name}](#{name.lower()})"
    elif "enum" in schema:
        yield ", ".join(f"`{value}`" for value in schema["enum"])
    elif "const" in schema:
        yield f"`{schema['const']}`"
    elif choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        for choice in choices:
            yield from _forms(choice)
    elif schema.get("type") == "array":
        yield f"list of {_form(schema.get('items', {}))}"
    elif schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        yield f"name → {_form(schema['additionalProperties'])}"
    elif kind := schema.get("type"):
        words = {"null": "null", "string": "text", "integer": "whole number", "boolean": "true or false"}
        yield words.get(kind, kind) + (f" ({schema['format']})" if "format" in schema else "")


def _default(schema: Mapping[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if schema.get("default") is not None else ""


def _slug(path: str) -> str:
    return path.replace("/", "-").replace("{", "").replace("}", "").replace(".", "-").replace("_", "-").lower()


def _cell(text: str) -> str:
    return re.sub(r"\bNone\b", "null", _escaped(" ".join(text.split()))).replace("|", "\\|")


def _escaped(text: str) -> str:
    return text.replace("``", "`").replace("<", "&lt;")
