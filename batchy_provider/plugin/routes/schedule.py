# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes of schedules: when a workflow is due next, and the days of its calendar with the runs of the past weeks."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query

from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import DisclosureDep
from batchy_provider.plugin.security import WorkflowName, WorkflowReader
from batchy_provider.services.calendar_days import CalendarView
from batchy_provider.services.due_times import MAX_COUNT, DueTime

router = APIRouter(tags=["schedule"])


@router.get("/workflows/{workflow}/schedule", operation_id="list_due_times", summary="When a workflow is due next")
def list_due_times(
    workflow: WorkflowName,
    caller: WorkflowReader,
    services: ServicesDep,
    from_date: Annotated[
        str | None,
        Query(
            max_length=100,
            description="The first moment that counts (inclusive), ISO 8601; without an offset in the workflow's "
            "timezone. Default: now.",
        ),
    ] = None,
    count: Annotated[int, Query(ge=1, le=MAX_COUNT, description="How many times at most.")] = 10,
    left_out: Annotated[bool, Query(description="Also the days between that the calendar leaves out.")] = False,
) -> list[DueTime]:
    """Return when a workflow is due next, its calendar applied.

    A day that the calendar leaves out has no `due`, and a `note` that says why. The list is empty if the workflow has
    no schedule by time.
    """
    return services.due_times.of(workflow, start=from_date, count=count, left_out=left_out).times


@router.get("/workflows/{workflow}/calendar", operation_id="get_calendar", summary="The days of a workflow's calendar")
def get_calendar(
    workflow: WorkflowName, caller: WorkflowReader, services: ServicesDep, disclosure: DisclosureDep
) -> CalendarView:
    """Return each day from the last month to two months ahead: fires, holidays, days that are left out, and runs.

    The runs are the batches that Redis has.
    """
    found = services.calendar_days.of(workflow)
    own = (workflow,)
    notes = [replace(note, text=disclosure.text(note.text, own=own)) for note in found.notes]
    return replace(found, schedule=disclosure.text(found.schedule, own=own), notes=notes)
