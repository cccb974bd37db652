# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Turn the plain data of a ``_calendars.yaml`` into calendars, or list its errors.

An error in one calendar spoils only this one, and those that extend it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Any

from pydantic import ValidationError

from batchy_provider.config.calendar_model import CalendarModel, Calendars, KnownCalendars, calendar_of
from batchy_provider.config.diagnostics import Code, Violation, did_you_mean, show
from batchy_provider.config.job_order import find_cycle
from batchy_provider.config.model_errors import violations_of
from batchy_provider.core.calendars import Calendar

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,200}", re.ASCII)


def read_calendars(data: Any, inherited: Calendars) -> tuple[dict[str, Calendar | None], list[Violation]]:
    """Return the calendars of a file, and its errors.

    :param data: plain data.
    :param inherited: the calendars of the folders above, which the file may extend, or define in another way.
    :returns: name → calendar of this file; None for one with an error.
    """
    if not isinstance(data, dict):
        message = f"expected a mapping of calendars, such as target2: {{holidays: ECB}}, not {show(data)}"
        return {}, [Violation((), Code.WRONG_TYPE, message)]
    models: dict[str, CalendarModel] = {}
    violations: list[Violation] = []
    for name, given in data.items():
        if name.startswith("x-"):  # anchors and notes for other programs
            continue
        model, found = _model(name, given)
        violations += found
        if model is not None:
            models[name] = model
    names = [name for name in data if not name.startswith("x-")]
    violations += _bad_extends(models, {**inherited, **dict.fromkeys(names)}, inherited)
    known: dict[str, Calendar | None] = dict.fromkeys((str(each.path[0]) for each in violations), None)

    def resolve(name: str) -> Calendar | None:
        if name not in known:
            model = models[name]
            if model.extends is None:
                known[name] = calendar_of(name, model, None)
            else:
                is_own = model.extends != name and model.extends in names
                base = resolve(model.extends) if is_own else inherited.get(model.extends)
                known[name] = None if base is None else calendar_of(name, model, base)
        return known[name]

    return {name: resolve(name) for name in names}, violations


def _model(name: str, given: Any) -> tuple[CalendarModel | None, list[Violation]]:
    if not _NAME.fullmatch(name):
        message = "the name of a calendar has letters, digits, '_', '.' and '-', 1 to 200 of them"
        return None, [Violation((name,), Code.INVALID_NAME, message, at_key=True)]
    try:
        model = CalendarModel.model_validate({} if given is None else given)
    except ValidationError as error:
        found = violations_of(error, CalendarModel)
        return None, [each._replace(path=(name, *each.path)) for each in found]
    twice = sorted(set(model.add) & set(model.remove))
    if twice:
        message = f"{twice[0]} is also in add; remove one of the two"
        return None, [Violation((name, "remove"), Code.CONFLICT, message)]
    return model, []


def _bad_extends(
    models: Mapping[str, CalendarModel], names: Collection[str], inherited: Calendars
) -> Iterator[Violation]:
    extends = {name: [model.extends] for name, model in models.items() if model.extends is not None}
    for name, (base,) in extends.items():
        if base not in names:
            message = f"no calendar {base!r} to extend{did_you_mean(base, names)}"
            yield Violation((name, "extends"), Code.UNDEFINED_CALENDAR, message)
        elif base == name and name not in inherited:
            yield Violation((name, "extends"), Code.CYCLE, "a calendar cannot extend itself")
    # One that extends its namesake of a folder above is no cycle.
    upstream = {name: [base for base in bases if base in models and base != name] for name, bases in extends.items()}
    while cycle := find_cycle(upstream):
        first = cycle[0]
        names = " → ".join([first, *reversed(cycle)])
        for name in set(cycle):
            yield Violation((name, "extends"), Code.CYCLE, f"calendars extend each other in a cycle: {names}")
            upstream[name] = []


def ending(known: KnownCalendars, today: date) -> Iterator[Violation]:
    """Yield the calendars of a file whose holidays are known for less than a year from today."""
    for name, calendar in known.own.items():
        last = None if calendar is None else calendar.last_year_known
        if last is not None and date(min(last, 9999), 12, 31) < _a_year_after(today):
            yield Violation(
                (name,),
                Code.CALENDAR_ENDS,
                f"the holidays of {name} are known to the end of {last}, and later years have only weekends and the "
                f"days of add; update the library holidays, or add the days of {last + 1}",
                at_key=True,
            )


def _a_year_after(day: date) -> date:
    return date(day.year + 1, day.month, min(day.day, 28)) if day.year < 9999 else date.max
