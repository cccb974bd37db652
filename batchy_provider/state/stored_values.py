# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read single values from Redis. An error names key, field, what was expected and what to do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from batchy_provider.core.dates import from_unix, parse_date
from batchy_provider.core.job_state import DATE_FIELDS, JobState
from batchy_provider.core.typed_data import FormError, encodable, fits, shown
from batchy_provider.exceptions import StateError, WindowError

T = TypeVar("T")

_REPORT = {"batch_id": int | None, "progress": float | None, "message": str | None, "at": str | None}
_MAX_ID = 2**53

_decoder = json.JSONDecoder()


def decode(text: str) -> Any:
    """Read JSON.

    :raises ValueError: if the text is not JSON.
    """
    try:
        # As this package writes it, without space around it. To look for space takes longer.
        found, end = _decoder.raw_decode(text)
    except ValueError:
        end = -1
    return found if end == len(text) else _decoder.decode(text)


def damaged(key: str, name: str, what: str, expected: str = "a JSON object as batchy writes it") -> StateError:
    """Return the error for a field of a Redis hash that cannot be used.

    :param what: what it holds, as the end of a sentence.
    """
    return StateError(
        f"field {encodable(name)!r} of Redis hash {key!r} {what}; expected {expected}. Correct or remove that field. "
        "Does another program use this key? Then give the workflow another name, or Batchy a Redis database of its own"
    )


def load_json(key: str, name: str, text: str) -> Any:
    """Read the JSON of a field.

    :raises StateError: if the text is not JSON.
    """
    try:
        return decode(text)
    except (ValueError, RecursionError) as error:
        raise damaged(key, name, "does not hold JSON") from error


def read_field(key: str, name: str, text: str, read: Callable[[Any], T]) -> T:
    """Read a field that only this package writes.

    :param read: makes a value of the JSON.
    :raises StateError: if it has another form.
    """
    data = load_json(key, name, text)
    try:
        return read(data)
    except FormError as error:
        what, _, expected = str(error).partition("; expected ")
        what = f"has another form than this package writes: it {what}"
        raise damaged(key, name, what, *([expected] if expected else [])) from error
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, WindowError) as error:
        raise damaged(key, name, "has another form than this package writes") from error


def check_job_name(key: str, name: str) -> None:
    """Refuse a job whose name is not valid text: no file, address or log could show it.

    :raises StateError: if it is not UTF-8.
    """
    if not name.isascii() and encodable(name) != name:
        raise damaged(key, name, "has a name that is not UTF-8", "the name of a job")


def check_jobs(key: str, jobs: Mapping[str, JobState], parsed: Collection[str] = DATE_FIELDS) -> None:
    """Refuse jobs with a damaged field, which cannot be shown.

    The rules do not ask this: a person who corrects such a field with ``set-window`` or ``load`` must be able to.

    :param key: of their hash, for the error.
    :param parsed: fields whose text must be a date; other fields may hold any text.
    :raises StateError: for the first damaged field.
    """
    checked: set[int] = set()  # many jobs share one value
    for name, job in jobs.items():
        check_job_name(key, name)
        if id(job) in checked:
            continue
        checked.add(id(job))
        for field, expected in job_errors(job, parsed):
            raise damaged(key, name, f"has {field} = {shown(job.fields[field])}", expected)


def job_errors(job: JobState, parsed: Collection[str] = DATE_FIELDS) -> Iterator[tuple[str, str]]:
    """Yield each damaged field of a job, with what was expected there.

    :param parsed: see `check_jobs`.
    """
    batch_id = job.fields.get("batch_id")
    if batch_id is not None and not fits(int, batch_id):
        yield "batch_id", "a whole number"
    for field in DATE_FIELDS:
        value = job.fields.get(field)
        if value is None or value == "":
            continue
        try:
            if not isinstance(value, str):
                raise WindowError
            if field in parsed:
                parse_date(value)
        except WindowError:
            yield field, "a date in ISO 8601, such as 2026-11-22T18:30:00"
    for field in ("status", "outcome"):
        value = job.fields.get(field)
        if value is not None and not isinstance(value, str):
            yield field, "text"


def load_id(key: str, text: Any) -> int:
    """Read the number of a batch.

    :raises StateError: if it is none.
    """
    if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= 16 and int(text) <= _MAX_ID:
        return int(text)
    raise StateError(
        f"Redis key {key!r} names a batch {shown(text)}; batch ids are numbers. Remove that entry. Does another "
        "program use this key? Then give the workflow another name, or Batchy a Redis database of its own"
    )


def load_number(key: str, score: Any) -> float:
    """Read a score of the list of batches.

    :raises StateError: if it is not a finite number.
    """
    try:
        number = float(score)
    except (TypeError, ValueError):
        number = math.nan
    if math.isfinite(number):
        return number
    raise StateError(f"Redis sorted set {key!r} has a score {shown(score)}; expected a number")


def load_score(key: str, score: Any) -> datetime:
    """Read when a batch was closed, Unix seconds; returns naive UTC.

    :raises StateError: if the score is not a time.
    """
    try:
        moment = float(score)
        if math.isfinite(moment):
            return from_unix(*divmod(round(moment * 1_000_000), 1_000_000))
    except (TypeError, ValueError, OverflowError, OSError):
        pass
    raise StateError(
        f"Redis sorted set {key!r} has a score {shown(score)}; expected the moment at which a batch was closed, in "
        "Unix seconds. Remove that entry"
    )


def load_progress(key: str, stored: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], list[StateError]]:
    """Read the latest progress of jobs.

    A report that cannot be read is left out: it is only for people to see, and the next one takes its place.

    :returns: job → report, and what is wrong with those that are left out.
    """
    reports: dict[str, dict[str, Any]] = {}
    errors: list[StateError] = []
    for job, text in stored.items():
        try:
            reports[encodable(job)] = read_field(key, job, text, _report)
        except StateError as error:
            errors.append(error)
    return reports, errors


def _report(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise FormError(f"is {shown(data)}; expected a JSON object")
    for name, hint in _REPORT.items():
        if not fits(hint, data.get(name)):
            raise FormError(f"has {name} = {shown(data[name])}; expected what a script reports")
    report: dict[str, Any] = encodable(data)
    return report


def is_workflow(live: Mapping[str, str], meta: Sequence[str | None]) -> bool:
    """Tell whether a hash is the live state of a workflow, perhaps damaged, and not of another program.

    It is, if this package keeps something beside it, or if one of its fields is a job with a status or a batch id as
    either system writes them: the original server writes a status into each job.

    :param meta: values of `codec.META_FIELDS`.
    """
    return any(value is not None for value in meta) or any(map(_is_job, live.values()))


def _is_job(text: str) -> bool:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(fields, dict):
        return False
    job = JobState(fields)
    return fits(int, fields.get("batch_id")) or (job.stored_status is not None and job.status is not None)
