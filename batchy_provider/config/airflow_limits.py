# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check that Airflow's database and protocol can hold the values of a workflow.

Airflow notices such a value only when it stores the workflows of all files together, and then it stores none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from batchy_provider.config.diagnostics import QUOTES, Code, KeyPath, Violation, show
from batchy_provider.config.field_types import in_zone
from batchy_provider.config.model import WorkflowModel
from batchy_provider.core.dates import to_utc
from batchy_provider.exceptions import WindowError

MAX_TAG = 100
MAX_OWNERS = 2000
_BITS = 63


def check_airflow_limits(model: WorkflowModel) -> Iterator[Violation]:
    """Yield dates outside of the calendar, numbers above 64 bits, and texts that are too long in total."""
    yield from _check_calendar(model)
    yield from _check_numbers(model)
    for index, tag in enumerate(model.tags):
        if len(tag) > MAX_TAG:
            yield Violation(
                ("tags", index), Code.AIRFLOW_LIMIT, f"expected at most {MAX_TAG} characters, not {len(tag)}"
            )
    owners = {job.owner or model.defaults.owner or model.owner or "" for job in model.jobs.values()}
    if (length := len(", ".join(owners))) > MAX_OWNERS:
        message = f"the owners of all jobs have {length} characters together, and Airflow can store {MAX_OWNERS}"
        yield Violation(("jobs",), Code.AIRFLOW_LIMIT, message, at_key=True)


def _check_calendar(model: WorkflowModel) -> Iterator[Violation]:
    dates: list[tuple[KeyPath, str | None]] = [
        (("start_date",), model.start_date),
        (("end_date",), model.end_date),
        (("initial_date",), model.initial_date),
        (("defaults", "initial_date"), model.defaults.initial_date),
        *((("jobs", name, "initial_date"), job.initial_date) for name, job in model.jobs.items()),
    ]
    for path, text in dates:
        if text is None:
            continue
        try:
            to_utc(in_zone(text, model.timezone), written=text)
        except WindowError as error:
            yield Violation(path, Code.INVALID_VALUE, f"{error} (the timezone is {model.timezone})")


def _check_numbers(model: WorkflowModel) -> Iterator[Violation]:
    """Check the values that Airflow stores unchanged. Params go to Redis, and a script gets text."""
    given: list[tuple[KeyPath, Any]] = []
    for name, param in model.run_params.items():
        given += [
            (("run_params", name, key), getattr(param, key)) for key in ("default", "choices", "minimum", "maximum")
        ]
    if model.deadline is not None:
        given += [(("deadline", "notify", i, "args"), each.args) for i, each in enumerate(model.deadline.notify)]
    for name, job in model.jobs.items():
        if job.operator is not None:
            given.append((("jobs", name, "args"), job.args))
            if isinstance(job.for_each, list):
                given.append((("jobs", name, "for_each"), job.for_each))
    for path, value in given:
        yield from _too_big(value, path)


def _too_big(value: Any, path: KeyPath) -> Iterator[Violation]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _too_big(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _too_big(item, (*path, index))
    elif isinstance(value, int) and value.bit_length() > _BITS:
        message = f"Airflow stores whole numbers of up to 64 bits, not {show(value)}{QUOTES}"
        yield Violation(path, Code.AIRFLOW_LIMIT, message, needs_quotes=True)
