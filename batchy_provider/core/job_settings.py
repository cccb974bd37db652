# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A job's params and settings: which values are valid, and how the rules read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from batchy_provider.core.dates import BEGINNING, read_date
from batchy_provider.core.job_state import INITIAL_DATE, Fields, JobState
from batchy_provider.exceptions import ConfigError, WindowError

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0", ""}


def plain_fields(workflow: str, job: str, given: Mapping[str, Any]) -> Fields:
    """Return a job's configuration as JSON can hold it, settings checked.

    Dates that YAML made of unquoted text become ISO 8601 text again.

    :raises ConfigError: if a value or a setting cannot be stored or read; no value is guessed.
    """
    fields = {name: _plain(f"{workflow}, job {job!r}, param {name!r}", value) for name, value in given.items()}
    state = JobState(fields)
    overlap(workflow, job, state)
    cuts_to_midnight(workflow, job, state)
    initial(workflow, job, state)
    return fields


def _plain(where: str, value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"{where}: {value!r} cannot be written as JSON; use a finite number or text")
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{where}: the key {key!r} is not text; put it in quotes")
        return {key: _plain(f"{where}, key {key!r}", item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(where, item) for item in value]
    raise ConfigError(
        f"{where}: a {type(value).__name__} cannot be written as JSON; use text, numbers, true, false, null, "
        "lists and mappings"
    )


def overlap(workflow: str, name: str, job: JobState) -> timedelta:
    """Return ``reprocess_hours`` as a duration; nothing if it is not set.

    :raises ConfigError: if it is not a number of hours, zero or more.
    """
    given = job.fields.get("reprocess_hours")
    if given is None:
        return timedelta(0)
    try:
        if isinstance(given, bool):
            raise ValueError
        hours = float(given)
        if not 0 <= hours < math.inf:
            raise ValueError
        return timedelta(hours=hours)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"{workflow}, job {name!r}: reprocess_hours is {_written(given)}; expected how many hours "
            "the next window reaches back, zero or more, for example 2 or 0.5"
        ) from error


def _written(given: object) -> str:
    """Return a setting for a message, as a workflow file or JSON writes it."""
    if isinstance(given, bool):
        return "true" if given else "false"
    return f'"{given}"' if isinstance(given, str) else repr(given)


def cuts_to_midnight(workflow: str, name: str, job: JobState) -> bool:
    """Return ``trunc_start``. Text such as "yes" or "off" counts too; the original server ignores it.

    :raises ConfigError: if it is neither.
    """
    given = job.fields.get("trunc_start")
    if given is None or isinstance(given, bool):
        return bool(given)
    if (text := str(given).strip().lower()) in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ConfigError(f"{workflow}, job {name!r}: trunc_start is {_written(given)}; expected true or false")


def initial(workflow: str, name: str, job: JobState) -> datetime | None:
    """Return ``initial_date`` as naive UTC, or None if the job has none.

    :raises ConfigError: if it is not a date.
    """
    given = job.fields.get(INITIAL_DATE)
    if given is None:
        return None
    try:
        return read_date(given)
    except WindowError as error:
        raise ConfigError(f"{workflow}, job {name!r}: initial_date: {error}") from error


def beginning(workflow: str, name: str, job: JobState) -> datetime:
    """Return where the first window of a job starts."""
    return initial(workflow, name, job) or BEGINNING
