# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Turn ``run_params`` of a file into Airflow's Params, which its UI shows as a form."""

from __future__ import annotations

from typing import Any

from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.run_checks import type_of
from batchy_provider.config.schedule_model import RunParam

_FORMATS = {"date": "date", "datetime": "date-time", "multiline": "multiline"}


def params_of(model: WorkflowModel) -> dict[str, Any]:
    """Return what ``DAG(params=…)`` takes."""
    return {name: _param(param) for name, param in model.run_params.items()}


def _param(param: RunParam) -> Any:
    from airflow.sdk import Param

    kind = type_of(param)
    schema: dict[str, Any] = {"type": "string" if kind in _FORMATS else kind}
    if kind in _FORMATS:
        schema["format"] = _FORMATS[kind]
    if param.title is not None:
        schema["title"] = param.title
    if param.choices is not None:
        schema["enum"] = list(param.choices)
    if param.minimum is not None:
        schema["minimum"] = param.minimum
    if param.maximum is not None:
        schema["maximum"] = param.maximum
    if param.required and param.default is None:
        return Param(description=param.description, **schema)
    if param.default is None:
        schema["type"] = ["null", schema["type"]]
        if "enum" in schema:
            schema["enum"] = [None, *schema["enum"]]
    return Param(param.default, description=param.description, **schema)
