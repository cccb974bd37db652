# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Generate the page of configuration options from the provider info that Airflow reads."""

from __future__ import annotations

from typing import Any

from batchy_provider.get_provider_info import get_provider_info

_HEAD = """\
# Configuration

Look up every option of batchy_provider here. Set it in the section `[batchy]` of `airflow.cfg`, or as an environment
variable, on each machine where Airflow runs: workers, triggerer, API server, DAG processor. All options have a default.
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
    default = f"`{option['default']}`" if option["default"] is not None else "see above"
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

You can use a connection of type `redis` of the Redis provider. Type `{kind}` ({connection["hook-name"]}) is the same
with a form for all fields that this package reads. With both types, the fields are in the connection's extra. Host,
port, user and password are Airflow's own fields of the connection.

| in the extra | in the form | value | default | |
|---|---|---|---|---|
{chr(10).join(rows)}
"""


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "`").split())
