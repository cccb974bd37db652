# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Types of single values in a workflow file: each reads what people write and says what it expected."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from batchy_provider.batches.dates import format_date, parse_date, zone
from batchy_provider.bundles.datasets import EXPECTED, is_template, split
from batchy_provider.config.durations import EXPECTED as EXPECTED_DURATION
from batchy_provider.config.durations import MAX_DAYS, parse_duration
from batchy_provider.config.faults import show
from batchy_provider.exceptions import WindowError

PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""Cron presets and what they stand for; ``@once`` and ``@continuous`` are no cron."""

_CRON_FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day": "1 to 31",
    "month": "1 to 12 or JAN to DEC",
    "weekday": "0 (Sunday) to 6 or SUN to SAT",
}
_LONGEST = {month: 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31 for month in range(1, 13)}
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
MAX_SIZE = 2**63
"""Bytes that no size reaches: what systems count with."""
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def wrong(message: str) -> PydanticCustomError:
    """Return the error that pydantic reports with just this text."""
    # The text may hold braces, which pydantic would take for a template: it goes in as a value.
    return PydanticCustomError("batchy", "{message}", {"message": message})


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError as error:
            raise wrong(str(error)) from None
    hint = f"; with a unit: {value}s" if isinstance(value, int) and not isinstance(value, bool) else ""
    raise wrong(f"expected {EXPECTED_DURATION}, not {show(value)}{hint}")


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
    hint = "; write it in quotes" if isinstance(value, int) else ""  # YAML takes 16:00 for minutes
    raise wrong(f'expected a time of day in quotes such as "06:00", not {show(value)}{hint}')


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _env(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    # A whole number has one way to be written; 1.10, yes and 2026-01-01 have several.
    return {k: str(v) if type(v) is int else v for k, v in value.items()}


def _hours(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
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
    raise wrong(f"expected a size such as 512M or 2G, not {show(value)}")


def _sha256(value: Any) -> str:
    if isinstance(value, str) and _SHA256.fullmatch(value.lower()):
        return value.lower()
    hint = "; write it in quotes" if isinstance(value, int | float) else ""
    raise wrong(f"expected a SHA-256 digest, 64 characters 0-9 and a-f, not {show(value)}{hint}")


def _dataset(value: Any) -> str:
    if not isinstance(value, str):
        raise wrong(f"expected {EXPECTED}, not {show(value)}")
    if not is_template(value):
        try:
            split(value)
        except ValueError as error:
            raise wrong(str(error)) from None
    return value


def _cron(value: Any) -> str:
    """Check one cron expression or preset."""
    if not isinstance(value, str):
        raise wrong(f'expected a cron expression in quotes such as "0 2 * * *", not {show(value)}')
    if value in PRESETS:
        return value
    if value.startswith("@"):
        raise wrong(f"unknown preset {value!r}; known are {', '.join([*PRESETS, '@once', '@continuous'])}")
    if (fields := len(value.split())) != 5:
        raise wrong(
            f"expected a cron expression of five fields (minute hour day month weekday), not {fields} in {show(value)}"
        )
    if not _is_cron(value):
        for place, (name, expected) in enumerate(_CRON_FIELDS.items()):
            field = value.split()[place]
            if not _is_cron(" ".join(["*"] * place + [field] + ["*"] * (4 - place))):
                forms = "lists (1,2), ranges (1-5) and steps (*/2)"
                raise wrong(f"the {name} of {value!r} is {field!r}; expected {expected}, *, {forms}")
        raise wrong(f"{value!r} is no cron expression")
    if _never_fires(value):
        raise wrong(f"{value!r} never fires: no such month has a day {value.split()[2]}")
    return value


@lru_cache(maxsize=10_000)  # workflows often run at the same time
def _is_cron(text: str) -> bool:
    from croniter import croniter

    try:
        croniter.expand(text)
    except (ValueError, KeyError, AttributeError):  # CroniterBadCronError is a ValueError
        return False
    return True


def _never_fires(cron: str) -> bool:
    """Tell whether a cron names only days that its months do not have, such as the 31st of June."""
    _, _, days, months, weekdays = cron.split()
    if weekdays != "*" or days == "*" or months == "*":  # a weekday is an alternative to the day
        return False
    from croniter import croniter

    fields = croniter.expand(cron)[0]
    first = min((day for day in fields[2] if isinstance(day, int)), default=1)
    longest = max((_LONGEST[month] for month in fields[3] if isinstance(month, int)), default=31)
    return first > longest


def time_of_day(crons: Iterable[str]) -> tuple[int, int] | None:
    """Return hour and minute at which all of some cron expressions fire, or None if there are several."""
    from croniter import croniter

    times = set()
    for cron in crons:
        minutes, hours = croniter.expand(PRESETS.get(cron, cron))[0][:2]
        if len(minutes) != 1 or len(hours) != 1 or not isinstance(hours[0], int) or not isinstance(minutes[0], int):
            return None
        times.add((hours[0], minutes[0]))
    return times.pop() if len(times) == 1 else None


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
    """Say in the JSON Schema what people write; pydantic would tell what is read of it."""
    return WithJsonSchema(schema)


_TEXTS = {"type": "array", "items": {"type": "string"}}
_NUMBER = r"[0-9]+(\.[0-9]{1,6})?"

Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    _schema(type="string", pattern=f"^ *({_NUMBER} *[wdhms] *)+$", examples=["90s", "5m", "4h", "1d12h"]),
]
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
Hours = Annotated[Any, BeforeValidator(_hours), _schema(type="number", minimum=0)]
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
