# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Turn a schedule into plain values of JSON and back, for ``wf:meta`` and for Airflow's serialized DAGs.

The form has what decides when a workflow is due, and nothing else. It leaves out what has its default and sorts what
has no order, so equal schedules have equal forms, and a changed calendar changes the form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import date
from enum import Enum
from typing import Any, TypeVar

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.dates import zone
from batchy_provider.core.schedules import DayRule, Days, Move, Period, Schedule
from batchy_provider.core.typed_data import FormError, build
from batchy_provider.exceptions import WindowError

E = TypeVar("E", bound=Enum)


@dataclass(frozen=True, slots=True)
class _Schedule:
    """Form of `Schedule`."""

    crons: list[str]
    timezone: str = "UTC"
    calendar: dict[str, Any] | None = None
    on: str | dict[str, Any] | None = None
    move: str = Move.SKIP.value


@dataclass(frozen=True, slots=True)
class _Calendar:
    """Form of `Calendar`; days of the week as numbers from Monday, 0, dates as ISO 8601."""

    name: str
    weekend: list[int] | None = None
    holidays: list[str] = field(default_factory=list)
    add: list[str] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Nth:
    """Form of a `DayRule` that counts business days."""

    nth: int
    of: str = Period.MONTH.value


def schedule_form(schedule: Schedule) -> dict[str, Any]:
    """Return the form that `read_schedule` reads."""
    form: dict[str, Any] = {"crons": list(schedule.crons)}
    if schedule.timezone != "UTC":
        form["timezone"] = schedule.timezone
    if schedule.calendar is not None:
        form["calendar"] = _calendar_form(schedule.calendar)
    if schedule.on is not None:
        form["on"] = _rule_form(schedule.on)
    if schedule.move is not Move.SKIP:
        form["move"] = schedule.move.value
    return form


def _calendar_form(calendar: Calendar) -> dict[str, Any]:
    default = Calendar(name=calendar.name)
    form: dict[str, Any] = {
        "weekend": sorted(calendar.weekend),
        "holidays": list(calendar.holidays),
        "add": sorted(day.isoformat() for day in calendar.add),
        "remove": sorted(day.isoformat() for day in calendar.remove),
    }
    changed = {name: value for name, value in form.items() if getattr(calendar, name) != getattr(default, name)}
    return {"name": calendar.name, **changed}


def _rule_form(rule: DayRule) -> Any:
    if rule.days is not Days.NTH:
        return rule.days.value
    return {"nth": rule.nth, **({} if rule.of is Period.MONTH else {"of": rule.of.value})}


def read_schedule(data: Any) -> Schedule:
    """Read what `schedule_form` returns.

    :raises FormError: if it has another form, or parts that only a newer version of this package knows: a schedule that
        is read in part would fire at other times.
    """
    found = _built(_Schedule, data, "a schedule")
    if not found.crons:
        raise FormError("has a schedule without a cron expression")
    try:
        zone(found.timezone)
    except WindowError as error:
        raise FormError(f"has a schedule whose timezone is none: {error}") from None
    return Schedule(
        crons=tuple(found.crons),
        timezone=found.timezone,
        calendar=None if found.calendar is None else _read_calendar(found.calendar),
        on=None if found.on is None else _read_rule(found.on),
        move=_member(Move, found.move, "move"),
    )


def _read_calendar(data: Any) -> Calendar:
    found = _built(_Calendar, data, "a calendar")
    default = Calendar(name=found.name)
    if found.weekend is not None and not all(0 <= day <= 6 for day in found.weekend):
        raise FormError(f"has a calendar with weekend = {found.weekend}; expected days of the week from 0 to 6")
    return Calendar(
        name=found.name,
        weekend=default.weekend if found.weekend is None else frozenset(found.weekend),
        holidays=tuple(found.holidays),
        add=_dates(found.add),
        remove=_dates(found.remove),
    )


def _read_rule(data: str | dict[str, Any]) -> DayRule:
    if isinstance(data, str):
        days = _member(Days, data, "on")
        if days is Days.NTH:
            raise FormError(f"has a schedule with on = {data!r}, without the number of the day")
        return DayRule(days=days)
    found = _built(_Nth, data, "a rule")
    return DayRule(days=Days.NTH, nth=found.nth, of=_member(Period, found.of, "of"))


T = TypeVar("T")


def _built(kind: type[T], data: Any, what: str) -> T:
    """Make a dataclass of a JSON object that has no other keys.

    :raises FormError: if it has.
    """
    built = build(kind, data)
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]  # kind is a dataclass
    if unknown := sorted(data.keys() - known):
        names = ", ".join(map(repr, unknown))
        raise FormError(f"has {what} with {names}, which this version of batchy_provider does not know")
    return built


def _member(kind: type[E], text: str, key: str) -> E:
    try:
        return kind(text)
    except ValueError:
        expected = ", ".join(each.value for each in kind)
        raise FormError(
            f"has a schedule with {key} = {text!r}, which this version of batchy_provider does not know; it knows "
            f"{expected}"
        ) from None


def _dates(texts: Iterable[str]) -> frozenset[date]:
    try:
        return frozenset(map(date.fromisoformat, texts))
    except ValueError as error:
        raise FormError(f"has a calendar with a date that is none: {error}") from None
