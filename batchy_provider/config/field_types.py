# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Types of single values in a workflow file: each reads what people write and says what it expected."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from batchy_provider.bundles.dataset_addresses import EXPECTED, is_template, split_address
from batchy_provider.config.cron_expressions import PRESETS, cron_problem
from batchy_provider.config.diagnostics import QUOTES, Code, show
from batchy_provider.config.durations import EXPECTED as EXPECTED_DURATION
from batchy_provider.config.durations import MAX_DAYS, parse_duration
from batchy_provider.core.dates import format_date, parse_date, zone
from batchy_provider.exceptions import WindowError

_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
WAS_VALID = {"was_valid": True}
"""Context of a validation of data that was valid before. What takes long is not checked again."""
MAX_SIZE = 2**63
"""Bytes that no size reaches: what systems count with."""
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def wrong(message: str, code: Code = Code.INVALID_VALUE, *, needs_quotes: bool = False) -> PydanticCustomError:
    """Return an error that pydantic reports with exactly this text.

    :param needs_quotes: end the text with the advice to write the value in quotes; see `Violation`.
    """
    # The text may hold braces, which pydantic would take for a template: it goes in as a value.
    text = message + QUOTES if needs_quotes else message
    return PydanticCustomError("batchy", "{message}", {"message": text, "code": code, "needs_quotes": needs_quotes})


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        try:
            duration = parse_duration(value)
        except ValueError as error:
            raise wrong(str(error)) from None
        return duration
    hint = f"; with a unit: {value}s" if isinstance(value, int) and not isinstance(value, bool) else ""
    raise wrong(f"expected {EXPECTED_DURATION}, not {show(value)}{hint}")


def _above_zero(value: timedelta) -> timedelta:
    if not value:
        raise wrong(f"expected {EXPECTED_DURATION}, longer than zero; for no limit, remove this key")
    return value


def _date(value: Any) -> str:
    if isinstance(value, str):
        try:
            parse_date(value)
        except WindowError:
            pass
        else:
            return value
    raise wrong(f"expected a date such as 2026-01-31 or 2026-01-31T18:30:00, not {show(value)}")


def _timezone(value: Any) -> str:
    if isinstance(value, str):
        try:
            return zone(value).key
        except WindowError:
            pass
    raise wrong(f"expected a timezone's IANA name such as UTC or Europe/Paris, not {show(value)}")


def _time_of_day(value: Any) -> str:
    if isinstance(value, str) and _TIME.fullmatch(value):
        return value
    # YAML reads 16:00 as a number of minutes.
    message = f'expected a time of day in quotes such as "06:00", not {show(value)}'
    raise wrong(message, needs_quotes=isinstance(value, int))


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _env(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    # A whole number has one way to be written; 1.10, yes and 2026-01-01 have several.
    return {k: str(v) if type(v) is int else v for k, v in value.items()}


def _hours(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:  # NaN is not
        raise wrong(f"expected a number of hours, 0 or more, such as 2 or 0.5, not {show(value)}")
    if value > MAX_DAYS * 24:
        raise wrong(f"expected a number of hours, at most {MAX_DAYS * 24} (a hundred years), not {show(value)}")
    return value


def _size(value: Any) -> int:
    size = value if type(value) is int else None
    if isinstance(value, str) and (found := _SIZE.fullmatch(value)):
        with suppress(OverflowError):  # of hundreds of digits: no size that a system could have
            size = int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))
    if size is not None and 0 < size < MAX_SIZE:
        return size
    more = ", greater than zero" if size == 0 else ""
    raise wrong(f"expected a size such as 512M or 2G{more}, not {show(value)}")


def _sha256(value: Any) -> str:
    if isinstance(value, str) and _SHA256.fullmatch(value.lower()):
        return value.lower()
    message = f"expected a SHA-256 digest, 64 characters 0-9 and a-f, not {show(value)}"
    raise wrong(message, needs_quotes=isinstance(value, int | float))


def _dataset(value: Any) -> str:
    if not isinstance(value, str):
        raise wrong(f"expected {EXPECTED}, not {show(value)}")
    if not is_template(value):
        try:
            split_address(value)
        except ValueError as error:
            raise wrong(str(error)) from None
    return value


def _cron(value: Any, info: ValidationInfo) -> str:
    """Check one cron expression or preset, unless the whole file was valid before."""
    if info.context is WAS_VALID:
        return cast("str", value)
    if not isinstance(value, str):
        raise wrong(f'expected a cron expression in quotes such as "0 2 * * *", not {show(value)}', Code.INVALID_CRON)
    if value in PRESETS:
        return value
    if value.startswith("@"):
        raise wrong(
            f"unknown preset {value!r}; known are {', '.join([*PRESETS, '@once', '@continuous'])}", Code.INVALID_CRON
        )
    if (problem := cron_problem(value)) is not None:
        raise wrong(problem.message, problem.code)
    return value


def in_zone(text: str, timezone_name: str) -> datetime:
    """Read a date of a file: without an offset it is local time of that timezone.

    :returns: an aware moment.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        # Forms that only pendulum reads; parse_date has lost whether there was an offset, so ask the text.
        moment = parse_date(text)
        if re.search(r"(Z|[+-]\d\d:?\d\d)$", text, re.IGNORECASE):
            moment = moment.replace(tzinfo=timezone.utc)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone(timezone_name))


def as_state_date(text: str, timezone_name: str) -> str:
    """Return a date of a file in the form of the state: naive UTC with microseconds."""
    return format_date(in_zone(text, timezone_name))


def _schema(**schema: Any) -> WithJsonSchema:
    """Describe in the JSON Schema what people write, instead of the type that it becomes."""
    return WithJsonSchema(schema)


_TEXTS = {"type": "array", "items": {"type": "string"}}
_NUMBER = r"[0-9]+(\.[0-9]{1,6})?"

Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    _schema(type="string", pattern=f"^ *({_NUMBER} *[wdhms] *)+$", examples=["90s", "5m", "4h", "1d12h"]),
]
PositiveDuration = Annotated[Duration, AfterValidator(_above_zero)]
DateText = Annotated[
    str,
    BeforeValidator(_date),
    _schema(type="string", pattern="^[0-9]{4}-?[0-9]", examples=["2026-01-31", "2026-01-31T18:30:00"]),
]
Timezone = Annotated[str, BeforeValidator(_timezone), _schema(type="string", examples=["UTC", "Europe/Paris"])]
TimeOfDay = Annotated[str, BeforeValidator(_time_of_day), _schema(type="string", pattern=f"^({_TIME.pattern})$")]
Names = Annotated[list[str], BeforeValidator(_one_or_many), _schema(anyOf=[{"type": "string"}, _TEXTS])]
Env = Annotated[
    dict[str, str],
    BeforeValidator(_env),
    _schema(type="object", additionalProperties={"type": ["string", "integer"]}),
]
Hours = Annotated[Any, BeforeValidator(_hours), _schema(type="number", minimum=0, maximum=MAX_DAYS * 24)]
Size = Annotated[
    int,
    BeforeValidator(_size),
    _schema(
        anyOf=[
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?[KMGTkmgt]?(i?[Bb])?$", "examples": ["512M", "2G"]},
            {"type": "integer", "exclusiveMinimum": 0},
        ]
    ),
]
Sha256 = Annotated[str, BeforeValidator(_sha256), _schema(type="string", pattern="^[0-9a-fA-F]{64}$")]
Datasets = Annotated[
    list[Annotated[str, BeforeValidator(_dataset)]],
    BeforeValidator(_one_or_many),
    _schema(anyOf=[{"type": "string"}, _TEXTS], examples=["s3://bucket/path", "postgres://dwh:5432/db.schema.table"]),
]
Cron = Annotated[
    str,
    BeforeValidator(_cron),
    _schema(
        anyOf=[
            {"enum": list(PRESETS)},
            {"type": "string", "pattern": r"^\s*\S+(\s+\S+){4}\s*$", "examples": ["0 2 * * *"]},
        ]
    ),
]
