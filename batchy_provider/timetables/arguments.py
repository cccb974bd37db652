# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check the arguments of a timetable by the rules of workflow files, and make a schedule of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from batchy_provider.config.calendar_model import CalendarModel, KnownCalendars, calendar_of
from batchy_provider.config.diagnostics import Violation
from batchy_provider.config.model import SharedModel
from batchy_provider.config.model_errors import violations_of
from batchy_provider.config.reader import Reader
from batchy_provider.config.run_checks import schedule_of_model
from batchy_provider.config.schedule_checks import check_schedule, pick_calendar
from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import Schedule


def schedule_of_arguments(
    crons: Sequence[str],
    *,
    timezone: str,
    calendar: str | Mapping[str, Any] | Calendar,
    cfg: str | PathLike[str] | None,
    on: str | Mapping[str, Any] | None,
    move: str | None,
) -> Schedule:
    """Return the schedule; see `CalendarTimetable` for the arguments.

    :raises ValueError: if a value cannot be used; it names each.
    """
    name, known = _known(calendar, cfg)
    written = {"cron": list(crons), "calendar": name, "on": on, "move": move}
    given = {name: value for name, value in written.items() if value is not None}
    model = _checked(SharedModel, {"timezone": timezone, "schedule": given}, ())
    _refuse(check_schedule(model))
    picked, violations = pick_calendar(model, lambda: known)
    _refuse(violations)
    return schedule_of_model(model, picked)


def _known(calendar: str | Mapping[str, Any] | Calendar, cfg: str | PathLike[str] | None) -> tuple[str, KnownCalendars]:
    """Return the name of the calendar, and the calendars among which it is."""
    if isinstance(calendar, str):
        if cfg is None:
            raise ValueError(
                f"calendar: {calendar!r} is a name; give cfg, the folder whose _calendars.yaml has it, or write the "
                "calendar as a mapping, such as {'holidays': 'ECB'}"
            )
        folder = Path(cfg)
        return calendar, Reader(folder).calendars(folder)
    found = calendar if isinstance(calendar, Calendar) else _calendar(calendar)
    return found.name, KnownCalendars(calendars={found.name: found})


def _calendar(given: Mapping[str, Any]) -> Calendar:
    model = _checked(CalendarModel, dict(given), ("calendar",))
    if model.extends is not None:
        raise ValueError("calendar.extends: a calendar of a DAG extends no other; name all of its holidays")
    return calendar_of(", ".join(model.holidays) or "own calendar", model, None)


def _checked(kind: type[Any], given: Mapping[str, Any], place: tuple[str, ...]) -> Any:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        found = [each._replace(path=(*place, *each.path)) for each in violations_of(error, kind)]
    _refuse(found)
    raise AssertionError("there is an error")


def _refuse(violations: Iterable[Violation]) -> None:
    """Raise an error that names all violations by the arguments of the timetable, if there are any."""
    texts = []
    for each in violations:
        # The keys of a file's schedule are arguments here.
        path = each.path[1:] if each.path[:1] == ("schedule",) else each.path
        texts.append(f"{'.'.join(map(str, path))}: {each.message}" if path else each.message)
    if texts:
        raise ValueError("; ".join(texts))
