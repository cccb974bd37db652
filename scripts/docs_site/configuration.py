# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The page of configuration options, made of what Airflow is told of this package."""

from __future__ import annotations

from typing import Any

from batchy_provider.get_provider_info import get_provider_info

_HEAD = """\
# Configuration

Options of the section `[batchy]` in `airflow.cfg`, or as variables of the environment. They hold where Airflow runs:
workers, triggerer, API server, DAG processor. All have a default.
"""


def configuration_page() -> str:
    """Return the page as Markdown."""
    info = get_provider_info()
    parts = [_HEAD]
    for section, content in info["config"].items():
        parts += [_option(section, name, option) for name, option in content["options"].items()]
    parts += [_connection(connection) for connection in info["connection-types"]]
    return "\n".join(parts)


def _option(section: str, name: str, option: dict[str, Any]) -> str:
    default = f"`{option['default']}`" if option["default"] is not None else "worked out, see above"
    return f"""\
## {name}

{_plain(option["description"])}

| | |
|---|---|
| type | {option["type"]} |
| default | {default} |
| variable | `AIRFLOW__{section.upper()}__{name.upper()}` |
| example | `{option["example"]}` |
"""


def _connection(connection: dict[str, Any]) -> str:
    rows = []
    for name, field in connection["conn-fields"].items():
        schema = field["schema"]
        kind = ", ".join(f"`{each}`" for each in schema.get("enum", ())) or schema["type"][0]
        default = f"`{str(schema['default']).lower()}`" if "default" in schema else ""
        rows.append(f"| `{name}` | {field['label']} | {kind} | {default} | {_plain(field['description'])} |")
    kind = connection["connection-type"]
    return f"""\
## The connection

Type `redis` of the Redis provider serves as it is. Type `{kind}` ({connection["hook-name"]}) is the same with a form
for all that this package reads; the fields stand in the connection's extra, of either type. Host, port, user and
password are the connection's own.

| in the extra | in the form | value | default | |
|---|---|---|---|---|
{chr(10).join(rows)}
"""


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "`").split())
