# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check the dates of a file against each other and against now: ``start_date``, ``end_date``, ``initial_date``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from batchy_provider.config.diagnostics import Code, KeyPath, Violation
from batchy_provider.config.field_types import in_zone
from batchy_provider.config.model import SharedModel, WorkflowModel


def check_dates(model: WorkflowModel) -> Iterator[Violation]:
    """Yield the errors of the dates between which a workflow is scheduled."""
    if model.catchup and model.start_date is None:
        yield Violation(("catchup",), Code.MISSING_KEY, "catchup needs a start_date")
    if model.start_date is not None and model.end_date is not None:
        start, end = (in_zone(each, model.timezone) for each in (model.start_date, model.end_date))
        if _is_before(end, start):
            yield Violation(
                ("end_date",), Code.INVALID_VALUE, f"{model.end_date} is before start_date, {model.start_date}"
            )
    if model.schedule == "@continuous" and model.max_active_runs != 1:
        yield Violation(("max_active_runs",), Code.CONFLICT, "schedule @continuous allows one run at a time")


def _is_before(end: datetime, start: datetime) -> bool:
    try:
        return end < start
    except OverflowError:  # at the ends of the calendar; the check of each date reports it
        return False


def check_initial_date(text: str | None, model: SharedModel, path: KeyPath) -> Iterator[Violation]:
    """Yield an error if the first window would start in the future.

    :param text: ``initial_date`` as the file has it; None if it has none.
    :param path: of that key.
    """
    moment = _moment(text, model) if text is not None else None  # None, too, outside of the calendar: another check
    if moment is None or moment <= datetime.now(timezone.utc):
        return
    # What is scheduled only from then on may be written down before.
    start = _moment(model.start_date, model) if model.start_date is not None else None
    if start is None or start < moment:
        yield Violation(
            path,
            Code.INVALID_VALUE,
            f"{text} is in the future, and no window can start there yet; write a date in the past, or a "
            "start_date that is not before it",
        )


def depends_on_date(model: WorkflowModel | None) -> bool:
    """Tell whether the checks of this module depend on what day it is today."""
    if model is None:
        return False
    settings = (model.defaults, *model.jobs.values())
    return model.initial_date is not None or any(each.initial_date is not None for each in settings)


def _moment(text: str, model: SharedModel) -> datetime | None:
    try:
        return in_zone(text, model.timezone).astimezone(timezone.utc)
    except (OverflowError, ValueError):
        return None
