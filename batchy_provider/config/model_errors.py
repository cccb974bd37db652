# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Translate the errors of pydantic for people who write YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from batchy_provider.config.base_model import Notifier
from batchy_provider.config.diagnostics import QUOTES, Code, KeyPath, Violation, did_you_mean, nearest, one_of, show
from batchy_provider.config.job_model import ForEach, Job, Limits, Settings
from batchy_provider.config.model import Infa
from batchy_provider.config.schedule_model import CronSchedule, Deadline, DeadlineWarn, Nth, RunParam, Wait, Within
from batchy_provider.config.window_model import UntilWorkflows, WindowModel

SYNONYMS = {
    "backoff": "retry_backoff",
    "bash_command": "bash",
    "calendar": "schedule: {cron: …, calendar: …}",
    "callbacks": "on_failure or on_success",
    "command": "bash",
    "cron": "schedule",
    "dagrun_timeout": "run_timeout",
    "dag_id": "the file's name",
    "default_args": "defaults",
    "dependencies": "after",
    "depends_on": "after",
    "environment": "env",
    "execution_timeout": "timeout",
    "expand": "for_each",
    "name": "the file's name, and for a job its key",
    "max_active_tasks": "max_active_jobs",
    "needs": "after",
    "notify": "on_failure or on_success",
    "on_failure_callback": "on_failure",
    "on_retry_callback": "on_retry",
    "on_success_callback": "on_success",
    "priority_weight": "priority",
    "redis_conn_id": "connection",
    "retry": "retries",
    "retry_exponential_backoff": "retry_backoff",
    "schedule_interval": "schedule",
    "script": "bash or bundle",
    "tasks": "jobs",
    "trigger_rule": "when",
    "upstream": "after",
}
"""Names from Airflow and other tools → the key of a workflow file."""

_EXPECTED = {
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping (name: value)",
    "model_type": "a mapping (name: value)",
    "model_attributes_type": "a mapping (name: value)",
}


def violations_of(error: ValidationError, top: type[BaseModel]) -> list[Violation]:
    """Translate all errors of one validation.

    :param top: the model that was validated.
    """
    violations = [_problem(details, top) for details in error.errors(include_url=False)]
    # A missing key that is only misspelt is one error, not two: the unknown key already names it.
    misspelt = [
        _missing(each.path[:-1], key)
        for each in violations
        if each.code is Code.UNKNOWN_KEY and (key := nearest(str(each.path[-1]), known_keys(each.path[:-1], top)))
    ]
    return [each for each in violations if each not in misspelt]


def _missing(path: KeyPath, key: str) -> Violation:
    return Violation(path, Code.MISSING_KEY, f"the key {key!r} is missing", at_key=True)


def _problem(details: Mapping[str, Any], top: type[BaseModel]) -> Violation:
    # A tagged union adds its tag to the path, in angle brackets; keys of a file never have these.
    path: KeyPath = tuple(part for part in details["loc"] if not str(part).startswith("<"))
    kind, value, context = details["type"], details.get("input"), details.get("ctx", {})
    match kind:
        case "batchy":
            return Violation(path, context["code"], context["message"], needs_quotes=context["needs_quotes"])
        case "extra_forbidden":
            return Violation(
                path, Code.UNKNOWN_KEY, unknown_key(str(path[-1]), known_keys(path[:-1], top)), at_key=True
            )
        case "missing":
            return _missing(path[:-1], str(path[-1]))
        case "literal_error":
            names = [name.strip("' ") for name in context["expected"].replace(" or ", ", ").split(",")]
            hint = did_you_mean(value, names) if isinstance(value, str) else ""
            return Violation(path, Code.INVALID_VALUE, f"expected {one_of(names)}, not {show(value)}{hint}")
        case "greater_than_equal":
            return Violation(path, Code.INVALID_VALUE, f"expected {context['ge']} or more, not {show(value)}")
        case "less_than_equal":
            return Violation(path, Code.INVALID_VALUE, f"expected {context['le']} or less, not {show(value)}")
        case "string_too_long":
            most = f"{context['max_length']} characters, which is what Airflow can store"
            return Violation(path, Code.AIRFLOW_LIMIT, f"expected at most {most}, not {len(str(value))}")
        case "string_pattern_mismatch":
            return Violation(
                path, Code.INVALID_VALUE, f"expected text without brackets and line breaks, not {show(value)}"
            )
        case "too_short":
            return Violation(path, Code.MISSING_VALUE, "expected at least one entry, but it is empty")
    expected = _EXPECTED.get(kind)
    if expected is None:
        return Violation(path, Code.INVALID_VALUE, f"{details['msg']}, not {show(value)}")
    needs_quotes = kind == "string_type" and isinstance(value, bool | int | float)
    message = f"expected {expected}, not {show(value)}{QUOTES if needs_quotes else ''}"
    return Violation(path, Code.WRONG_TYPE, message, needs_quotes=needs_quotes)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return the message about an unknown key, with the key that was probably meant."""
    names = sorted(known)
    synonym = SYNONYMS.get(key)
    if synonym is not None and (synonym in names or " " in synonym):
        return f"unknown key; you probably mean {synonym}"
    hint = did_you_mean(key, names) or f"; expected one of {', '.join(names)}"
    return f"unknown key{hint}"


def known_keys(path: KeyPath, top: type[BaseModel]) -> Iterable[str]:
    """Return the keys that the mapping at a path may have."""
    model: type[BaseModel]
    match path:
        case ():
            model = top
        case ("defaults",):
            model = Settings
        case ("jobs", _):
            model = Job
        case (*_, "limits"):
            model = Limits
        case ("wait_for", int()) | ("wait_for",):
            model = Wait
        case ("wait_for", *_, "scope"):
            model = Within
        case (*_, "on_failure" | "on_retry" | "on_success" | "notify", int()) | (
            *_,
            "on_failure" | "on_retry" | "on_success" | "notify",
        ):
            model = Notifier
        case ("deadline",):
            model = Deadline
        case ("deadline", "warn"):
            model = DeadlineWarn
        case ("run_params", _):
            model = RunParam
        case ("jobs", _, "for_each"):
            model = ForEach
        case ("schedule",):
            model = CronSchedule
        case ("schedule", "on"):
            model = Nth
        case ("window",):
            model = WindowModel
        case ("window", "until", *_):
            model = UntilWorkflows
        case _:
            model = Infa
    return [field.alias or name for name, field in model.model_fields.items()]
