# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Cron expressions: which ones this package accepts, and which ones Airflow and cron understand differently.

Airflow schedules by croniter. It knows more than cron (random and hashed fields, ``L``, ``#``), and it decides in
another way whether the day of the month and the weekday must both match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import NamedTuple

from batchy_provider.config.diagnostics import Code, CodedMessage, show
from batchy_provider.core.cron_days import expanded

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
"""Cron presets and their expressions; ``@once`` and ``@continuous`` are no cron."""


class _Field(NamedTuple):
    name: str
    expected: str
    first: int
    last: int
    names: tuple[str, ...] = ()


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = (
    _Field("minute", "0 to 59", 0, 59),
    _Field("hour", "0 to 23", 0, 23),
    _Field("day", "1 to 31", 1, 31),
    _Field("month", "1 to 12 or JAN to DEC", 1, 12, _MONTHS),
    _Field("weekday", "0 (Sunday) to 6 or SUN to SAT", 0, 7, _WEEKDAYS),
)
"""The fields of a cron expression, as cron numbers them."""

_ITEM = re.compile(r"(?:[*?]|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]+))?", re.ASCII)
_LAST_DAY = re.compile(r"l", re.ASCII)
_NTH_WEEKDAY = re.compile(r"(?:[0-7]|[a-z]{3})#[1-5]|l[0-7]", re.ASCII)
_POINT = re.compile(r"(?<![0-9a-z])([0-9a-z]+)-\1(?![0-9a-z])", re.ASCII)
_RANDOM = re.compile(r"[rh](?![a-z])|.*~", re.ASCII)
_LONGEST = {month: 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31 for month in range(1, 13)}


@lru_cache(maxsize=10_000)  # workflows often run at the same time
def cron_problem(cron: str) -> CodedMessage | None:
    """Say why a workflow cannot be scheduled by a cron expression of five fields, or return None.

    Beside what croniter refuses: fields that are random or hashed, days that never come, and days that Airflow reads
    in another way than cron does.
    """
    invalid = partial(CodedMessage, Code.INVALID_CRON)
    fields = cron.split()
    if len(fields) != len(FIELDS):
        names = "minute hour day month weekday"
        return invalid(f"expected a cron expression of five fields ({names}), not {len(fields)} in {show(cron)}")
    for place, (field, text) in enumerate(zip(FIELDS, fields, strict=True)):
        if any(_RANDOM.match(item) for item in text.lower().split(",")):
            how = f"the {field.name} of {cron!r} is {text!r}, a random value; write a fixed {field.name}"
            return invalid(how)
        alone = " ".join(["*"] * place + [text] + ["*"] * (4 - place))
        if not all(_is_item(item, place) for item in text.lower().split(",")) or not _is_cron(alone):
            forms = "lists (1,2), ranges (1-5) and steps (*/2)"
            return invalid(f"the {field.name} of {cron!r} is {text!r}; expected {field.expected}, *, {forms}")
    if not _is_cron(cron):
        return invalid(f"{cron!r} is not a cron expression")
    if (problem := _misread(cron)) is not None:
        return invalid(problem)
    if _never_fires(cron):
        return CodedMessage(Code.NEVER_FIRES, f"{cron!r} never fires: none of its months has a day {fields[2]}")
    if days_differ(cron):
        either = f"Airflow runs {cron!r} when the day or the weekday matches, and cron only when both do"
        return invalid(f"{either}; write {same_days(cron) or '* for one of the two'}")
    return None


def _is_item(item: str, place: int) -> bool:
    if place == 2 and _LAST_DAY.fullmatch(item):
        return True
    return _ITEM.fullmatch(item) is not None or (place == 4 and _NTH_WEEKDAY.fullmatch(item) is not None)


@lru_cache(maxsize=10_000)  # workflows often run at the same time
def _is_cron(text: str) -> bool:
    try:
        expanded(text)
    except (ValueError, KeyError, AttributeError):  # CroniterBadCronError is a ValueError
        return False
    return True


def _never_fires(cron: str) -> bool:
    """Tell whether a cron names only days that its months do not have, such as the 31st of June."""
    _, _, days, months, weekdays = expanded(cron)
    if weekdays != ["*"] or days == ["*"]:  # a weekday is an alternative to the day
        return False
    if not all(isinstance(day, int) for day in days):  # the last day of a month
        return False
    longest = max((_LONGEST[month] for month in months if isinstance(month, int)), default=31)
    return bool(min(days) > longest)


def days_differ(cron: str) -> bool:
    """Tell whether cron would run an expression on other days than Airflow does.

    In cron, the day of the month and the weekday must both match if one of the two fields begins with ``*``; if none
    does, one match is enough. In croniter one match is enough, unless one of them matches every day.
    """
    _, _, day_text, _, weekday_text = cron.split()
    if "l" in (day_text + weekday_text).lower() or "#" in weekday_text:  # unknown to cron
        return False
    _, _, days, _, weekdays = expanded(cron)
    if days == ["*"] or weekdays == ["*"]:
        return False
    return day_text[0] in "*?" or weekday_text[0] in "*?"


def same_days(cron: str) -> str | None:
    """Return an expression that Airflow runs on the days on which cron runs this one, where there is such a one."""
    minute, hour, day, month, weekday = cron.split()
    if not days_differ(cron):
        return cron
    _, _, days, _, weekdays = expanded(cron)
    if set(days) >= set(range(1, 32)):
        return f"{minute} {hour} * {month} {weekday}"
    if {number % 7 for number in weekdays} >= set(range(7)):
        return f"{minute} {hour} {day} {month} *"
    return None


def numbers_of(text: str, field: _Field) -> set[int]:
    """Return the numbers that cron reads in one field.

    :raises ValueError: if cron refuses it.
    """
    numbers: set[int] = set()
    for item in text.lower().split(","):
        found = _ITEM.fullmatch(item)
        if found is None or item.startswith("?") or (found[3] is not None and int(found[3]) == 0):
            raise ValueError(f"the {field.name} {text!r} is not valid in cron")
        first = field.first if found[1] is None else _number(found[1], field)
        last = _number(found[2], field) if found[2] is not None else field.last if found[1] is None else first
        if found[3] is not None and found[1] is not None and found[2] is None:
            raise ValueError(f"the {field.name} {text!r} has a step without a range, which not every cron accepts")
        if first > last:
            raise ValueError(f"the {field.name} {text!r} has a range that ends before it starts")
        numbers.update(range(first, last + 1, int(found[3] or 1)))
    return {number % 7 for number in numbers} if field.name == "weekday" else numbers


def _number(text: str, field: _Field) -> int:
    if text in field.names:
        return field.names.index(text) + (field.first if field.name == "month" else 0)
    if not text.isdigit() or not field.first <= int(text) <= field.last:
        raise ValueError(f"the {field.name} {text!r} is not valid; expected {field.expected}")
    return int(text)


def airflow_reads_as_cron(cron: str) -> str | None:
    """Say why an expression that cron accepts would run at other times in Airflow, or return None.

    :raises ValueError: if cron refuses it.
    """
    for text, field in zip(cron.split(), FIELDS, strict=True):
        numbers_of(text, field)
    problem = cron_problem(cron)
    return None if problem is None else problem.message


def _misread(cron: str) -> str | None:
    """Say which field Airflow reads in another way than cron does: croniter takes ``3-3`` for ``*``."""
    for text, field, read in zip(cron.split(), FIELDS, expanded(cron), strict=True):
        try:
            numbers = numbers_of(text, field)
        except ValueError:  # croniter alone knows it
            numbers = None
        whole = set(range(field.first, (6 if field.name == "weekday" else field.last) + 1))
        if (numbers is not None and (whole if read == ["*"] else set(read)) != numbers) or _POINT.search(text.lower()):
            numbers_text = ",".join(map(str, sorted(numbers or ())))
            hint = f"; write {numbers_text}" if numbers_text else ""
            return f"the {field.name} of {cron!r} is {text!r}, which Airflow and cron read differently{hint}"
    return None


def time_of_day(crons: Iterable[str]) -> tuple[int, int] | None:
    """Return hour and minute at which all of some cron expressions fire, or None if there are several."""
    times = set()
    for cron in crons:
        minutes, hours = expanded(PRESETS.get(cron, cron))[:2]
        if len(minutes) != 1 or len(hours) != 1 or not isinstance(hours[0], int) or not isinstance(minutes[0], int):
            return None
        times.add((hours[0], minutes[0]))
    return times.pop() if len(times) == 1 else None
