# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check the params and the deadline of a run, which depend on several keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from batchy_provider.config.cron_expressions import PRESETS, time_of_day
from batchy_provider.config.diagnostics import Code, Violation, show
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.schedule_model import After, CronSchedule, Nth, RunParam
from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import NO_SCHEDULE, DayRule, Days, Move, Period, Schedule

WINDOW_PARAMS = ("from_date", "to_date", "move_watermark")
"""Keys of a run's conf that set its window: a form may ask for them, but they must not have a default."""

_DAY = timedelta(days=1)
_FORMS = {
    "date": re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
    "datetime": re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE),
}
_HINTS = {"date": " such as 2026-01-31", "datetime": " with its offset, such as 2026-01-31T18:30:00Z"}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "multiline": (str,),
    "date": (str,),
    "datetime": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def crons_of(model: WorkflowModel) -> list[str]:
    """Return the cron expressions that a workflow is scheduled by."""
    match model.schedule:
        case CronSchedule() as schedule:
            return schedule.crons
        case None | After() | "@once" | "@continuous":
            return []
        case str(cron):
            return [cron]
        case crons:
            return crons


def is_after_workflows(model: WorkflowModel) -> bool:
    """Tell whether the batches of other workflows start runs."""
    return isinstance(model.schedule, After) and bool(model.schedule.after)


def schedule_of_model(model: WorkflowModel, calendar: Calendar | None = None) -> Schedule:
    """Return when a workflow is due by its file; not known if it has another schedule than cron expressions.

    :param calendar: the calendar that the file names.
    """
    crons = tuple(PRESETS.get(cron, cron) for cron in crons_of(model))
    if not crons:
        return NO_SCHEDULE
    plain = Schedule(crons=crons, timezone=model.timezone)
    written = model.schedule
    if calendar is None or not isinstance(written, CronSchedule):
        return plain
    return replace(
        plain,
        calendar=calendar,
        on=None if written.on is None else day_rule(written.on),
        move=Move(written.move or "skip"),
    )


def day_rule(on: str | Nth) -> DayRule:
    """Return the rule of ``on``."""
    return DayRule(days=Days.NTH, nth=on.nth, of=Period(on.of)) if isinstance(on, Nth) else DayRule(days=Days(on))


def same_day_workflows(model: WorkflowModel) -> list[str]:
    """Return the workflows that must have succeeded on the day of a run for it to load anything."""
    schedule = model.schedule
    return list(schedule.after) if isinstance(schedule, After) and schedule.same_day else []


def type_of(param: RunParam) -> str:
    """Return the type of a run param: the given one, or that of its default."""
    if param.type is not None:
        return param.type
    value = param.default if param.default is not None else (param.choices or [None])[0]
    for name in ("boolean", "integer", "number", "array", "object"):
        if isinstance(value, _TYPES[name]):
            return name
    return "string"


def time_to_deadline(model: WorkflowModel) -> timedelta | None:
    """Return how long after a run was due its deadline is; None without one, or without one time of day."""
    deadline = model.deadline
    if deadline is None or deadline.closed_by is None:
        return deadline.within if deadline is not None else None
    due = time_of_day(crons_of(model))
    if due is None or is_after_workflows(model):
        return None
    hour, minute = map(int, deadline.closed_by.split(":"))
    return timedelta(minutes=(hour - due[0]) * 60 + minute - due[1]) % _DAY or _DAY


def check_runs(model: WorkflowModel) -> Iterator[Violation]:
    """Yield the errors of a workflow's run params and deadline."""
    for name, param in model.run_params.items():
        yield from _check_param(name, param, model)
    if (deadline := model.deadline) is None:
        return
    if (deadline.closed_by is None) == (deadline.within is None):
        yield Violation(("deadline",), Code.CONFLICT, "expected either closed_by or within", at_key=True)
    elif time_to_deadline(model) is None:
        also = ", and not after workflows, too" if crons_of(model) and is_after_workflows(model) else ""
        message = f"a time of day needs a schedule that fires at one time of day{also}; use within"
        yield Violation(("deadline", "closed_by"), Code.CONFLICT, message)


def _check_param(name: str, param: RunParam, model: WorkflowModel) -> Iterator[Violation]:
    path = ("run_params", name)
    value, kind = param.default, type_of(param)
    place = (*path, "default") if "default" in param.model_fields_set else path
    if param.required and model.schedule is not None:
        yield Violation(
            (*path, "required"), Code.CONFLICT, "a scheduled run cannot ask a person; give a default instead"
        )
    if value is not None and not _is_a(kind, value):
        hint = _HINTS.get(kind, "") if isinstance(value, str) else ""
        yield Violation(place, Code.WRONG_TYPE, f"expected a value of type {kind}{hint}, not {show(value)}")
    elif value is not None and param.choices is not None and value not in param.choices:
        yield Violation(place, Code.INVALID_VALUE, f"{show(value)} is not one of the choices")
    elif value is not None and name in WINDOW_PARAMS:
        yield Violation(place, Code.CONFLICT, f"{name!r} sets the window of a run; a default would set it for all runs")
    elif isinstance(value, int | float) and not isinstance(value, bool) and not _is_within(param, value):
        yield Violation(place, Code.INVALID_VALUE, f"{show(value)} is not between the minimum and the maximum")
    if param.minimum is not None and param.maximum is not None and param.minimum > param.maximum:
        yield Violation((*path, "minimum"), Code.INVALID_VALUE, "the minimum is above the maximum", at_key=True)
    for index, choice in enumerate(param.choices or ()):
        if not _is_a(kind, choice):
            yield Violation(
                (*path, "choices", index), Code.WRONG_TYPE, f"expected a value of type {kind}, not {show(choice)}"
            )
    for key in ("minimum", "maximum"):
        if getattr(param, key) is not None and kind not in ("integer", "number"):
            yield Violation(
                (*path, key), Code.CONFLICT, f"only a number has a {key}, and this is of type {kind}", at_key=True
            )


def _is_within(param: RunParam, value: float) -> bool:
    least, most = param.minimum, param.maximum
    return (least is None or least <= value) and (most is None or value <= most)


def _is_a(kind: str, value: Any) -> bool:
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return False
    if kind not in _FORMS:
        return True
    # Airflow takes one form of each, and Python's own reading takes more of them with each version.
    text = str(value)
    try:
        datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
    except ValueError:
        return False
    return _FORMS[kind].fullmatch(text) is not None
