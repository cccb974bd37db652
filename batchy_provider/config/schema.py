# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Write the JSON Schema of workflow files, which lets an editor complete and check their keys.

The schema is made from the models: ``batchy schema`` prints it. No copy is committed. Each build of the package writes
`schema.json` beside this file, and the copies that the examples name; see ``hatch_build.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from batchy_provider.config.calendar_model import CalendarModel
from batchy_provider.config.job_name_checks import RESERVED_JOBS, WAIT_PREFIX
from batchy_provider.config.job_order import PREVIOUS
from batchy_provider.config.key_checks import ACTIONS
from batchy_provider.config.model import SharedModel, WorkflowModel
from batchy_provider.core.names import MAX_NAME_LENGTH

IN_CFG = ".schema.json"
"""Name of a copy in the folder of workflow files. Files whose names start with a dot are not workflows."""
DEFAULTS_IN_CFG = ".schema-defaults.json"
"""The same for `_defaults.yaml`."""
CALENDARS_IN_CFG = ".schema-calendars.json"
"""The same for `_calendars.yaml`."""


def schema_text(*, defaults: bool = False) -> str:
    """Return the schema as JSON.

    :param defaults: return the schema of ``_defaults.yaml``, which has no jobs.
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


def calendars_schema_text() -> str:
    """Return the schema of ``_calendars.yaml`` as JSON."""
    calendar = _plain(CalendarModel.model_json_schema())
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The calendars that workflows of a folder can pick",
        "type": "object",
        "patternProperties": {"^x-": True},
        "propertyNames": {"pattern": r"^[A-Za-z0-9_.\-]{1,200}$"},
        "additionalProperties": {"anyOf": [calendar, {"type": "null"}]},
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _plain(schema: Any, *, names: bool = False) -> Any:
    """Remove what is of no use to an editor: titles that repeat the name, empty defaults.

    :param names: the keys of this mapping are keys of a workflow file, not words of the schema.
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


def write_files(root: Path) -> None:
    """Write the schema into the package and beside the examples of a source tree.

    :param root: the folder that holds ``batchy_provider`` and ``cfg``.
    """
    text = schema_text()
    for path in (root / "batchy_provider" / "config" / "schema.json", root / "cfg" / IN_CFG):
        path.write_text(text, encoding="utf-8")
    (root / "cfg" / DEFAULTS_IN_CFG).write_text(schema_text(defaults=True), encoding="utf-8")
    (root / "cfg" / CALENDARS_IN_CFG).write_text(calendars_schema_text(), encoding="utf-8")
