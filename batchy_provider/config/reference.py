# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Write the tables of ``docs/yaml.md`` from the models: ``python -m batchy_provider.config.reference docs/yaml.md``.

It replaces the text between ``<!-- keys of MODEL -->`` or ``<!-- codes -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from batchy_provider.config.base_model import Notifier
from batchy_provider.config.calendar_model import CalendarModel
from batchy_provider.config.diagnostics import Code
from batchy_provider.config.durations import format_duration
from batchy_provider.config.job_model import ForEach, Job, Limits, Settings
from batchy_provider.config.model import Infa, SharedModel, WorkflowModel
from batchy_provider.config.schedule_model import After, CronSchedule, Deadline, DeadlineWarn, RunParam, Wait
from batchy_provider.config.window_model import WindowModel

_MODELS: dict[str, type[BaseModel]] = {
    each.__name__: each
    for each in (
        After,
        CalendarModel,
        CronSchedule,
        Deadline,
        DeadlineWarn,
        ForEach,
        Infa,
        Job,
        Limits,
        Notifier,
        RunParam,
        Settings,
        Wait,
        WindowModel,
        WorkflowModel,
    )
}

_PLACE = re.compile(r"(<!-- keys of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_CODES = re.compile(r"(<!-- codes -->\n).*?(<!-- end -->)", re.DOTALL)
_FORMS = {
    "add": "day or list of days",
    "any": "true or false",
    "args": "mapping",
    "choices": "list",
    "cron": "cron, preset, or list of crons",
    "default": "value",
    "for_each": "list, or `{from: job}`",
    "holidays": "code or list of codes",
    "inputs": "address or list of addresses",
    "jobs": "mapping of jobs",
    "maximum": "number",
    "minimum": "number",
    "notify": "[notifiers](#notifiers)",
    "on": "`business_days`, `holidays`, or `{nth: N, of: PERIOD}`",
    "on_failure": "[notifiers](#notifiers)",
    "on_retry": "[notifiers](#notifiers)",
    "on_success": "[notifiers](#notifiers)",
    "outputs": "address or list of addresses",
    "params": "mapping",
    "remove": "day or list of days",
    "run_params": "mapping, see [runparam](#runparam)",
    "schedule": "cron, preset, list of crons, `{cron: …}` or `{after: […]}`",
    "scope": "`today`, `due`, `since_last_run`, `any` or `{within: 12h}`",
    "until": "`now`, `schedule` or `{workflows: […]}`",
    "chance": "number",
    "warn": "`true`, or mapping, see [warn](#warn)",
    "wait_for": "name, mapping, or list of these",
    "weekend": "day of the week or list of them",
    "window": "mapping, see [window](#window)",
}
_TYPES = {
    "_align": "`hour`, `day`, `week`, `month` or a cron",
    "_date": "date",
    "_duration": "duration",
    "_env": "mapping of text",
    "_hours": "number",
    "_one_or_many": "name or list of names",
    "_sha256": "64 hex digits",
    "_size": "size",
    "_time_of_day": "time of day",
    "_timezone": "timezone",
}
_PLAIN = {"str": "text", "bool": "true or false", "int": "whole number"}


def table(of: type[BaseModel], without: type[BaseModel] | None = None) -> str:
    """Write a Markdown table of a model's keys.

    :param without: a model whose keys are left out, because they have a table of their own.
    """
    rows = ["| key | value | default | |", "|---|---|---|---|"]
    for name, field in of.model_fields.items():
        if without is None or name not in without.model_fields:
            rows.append(
                f"| `{field.alias or name}` | {_form(of, name, field)} | {_default(field)} | {field.description} |"
            )
    return "\n".join(rows) + "\n"


def codes() -> str:
    """Write a Markdown table of the codes of diagnostics."""
    return "".join(["| code | meaning |\n|---|---|\n", *(f"| `{code.value}` | {code.meaning} |\n" for code in Code)])


def renew(text: str) -> str:
    """Return a page with its tables as the models are now."""

    def put(found: re.Match[str]) -> str:
        of = _MODELS[found[2]]
        parent = of.__mro__[1] if of in (Job, WorkflowModel) else None
        own = table(of, without=Settings if of is Job else After if of is CronSchedule else None)
        if of is WorkflowModel:
            own = table(SharedModel) + table(of, without=parent).split("\n", 2)[2]
        return found[1] + own + found[3]

    return _PLACE.sub(put, _CODES.sub(lambda found: found[1] + codes() + found[2], text))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == [] or value == {} or isinstance(value, BaseModel):
        return ""
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _form(of: type[BaseModel], name: str, field: FieldInfo) -> str:
    if of is Job and name == "args":
        return "list of text, or mapping"
    if name in _FORMS and not (of is Wait and name == "jobs"):
        return _FORMS[name]
    text = repr(field.annotation) + "".join(map(repr, field.metadata))
    for function, form in _TYPES.items():
        if f"function {function} " in text:
            return form
    if choice := re.search(r"Literal\[(.*?)\]", text):
        return ", ".join(f"`{each.strip(chr(39))}`" for each in choice[1].split(", "))
    if keys := re.search(r"model\.(\w+)", text):
        return f"mapping, see [{keys[1].lower()}](#{keys[1].lower()})"
    return _plain(field.annotation)


def _plain(annotation: Any) -> str:
    text = repr(annotation)
    return next(form for name, form in _PLAIN.items() if re.search(rf"\b{name}\b", text))


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(renew(page.read_text(encoding="utf-8")), encoding="utf-8")
