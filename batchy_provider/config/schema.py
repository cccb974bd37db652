# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The JSON Schema of workflow files, made of the models, for editors.

``python -m batchy_provider.config.schema`` renews the files that are shipped: `schema.json` beside this one, and
the copies that the examples name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from batchy_provider.config.job_order import PREVIOUS
from batchy_provider.config.key_checks import ACTIONS, RESERVED_JOBS, WAIT_PREFIX
from batchy_provider.config.model import SharedModel, WorkflowModel
from batchy_provider.core.names import MAX_NAME_LENGTH

SHIPPED = Path(__file__).with_name("schema.json")
IN_CFG = ".schema.json"
"""What a copy in the folder of workflow files is called: what begins with a dot is no workflow."""
DEFAULTS_IN_CFG = ".schema-defaults.json"
"""The same for `_defaults.yaml`."""


def schema_text(*, defaults: bool = False) -> str:
    """Write the schema.

    :param defaults: that of ``_defaults.yaml``, which has no jobs.
    """
    model = SharedModel if defaults else WorkflowModel
    schema = _plain(model.model_json_schema())
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "What workflow files of a folder inherit" if defaults else "A workflow of batchy_provider",
        "patternProperties": {"^x-": True},
    }
    if not defaults:
        schema["$defs"]["Job"]["oneOf"] = [{"required": [action]} for action in ACTIONS]
        schema["properties"]["jobs"]["propertyNames"] = {
            "pattern": rf"^(?!\.+$)[A-Za-z0-9_.\-]{{1,{MAX_NAME_LENGTH}}}$",
            "not": {"anyOf": [{"enum": [*RESERVED_JOBS, PREVIOUS]}, {"pattern": f"^{WAIT_PREFIX}"}]},
        }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _plain(schema: Any, *, names: bool = False) -> Any:
    """Leave out what tells an editor nothing: titles made of names, defaults that are nothing.

    :param names: the mapping's keys are keys of a file, not words of the schema.
    """
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {}
    for key, value in schema.items():
        if not names and (key == "title" or (key == "default" and value in (None, {}, []))):
            continue
        plain[key] = _plain(value, names=key in ("properties", "$defs") and not names)
    return plain


if __name__ == "__main__":
    text = schema_text()
    for place in (SHIPPED, Path("cfg", IN_CFG)):
        place.write_text(text, encoding="utf-8")
    Path("cfg", DEFAULTS_IN_CFG).write_text(schema_text(defaults=True), encoding="utf-8")
