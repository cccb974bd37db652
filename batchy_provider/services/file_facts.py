# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read from a workflow file what the question why needs: when it is due, what it waits for, and its deadline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from batchy_provider.config.cross_file_checks import needs
from batchy_provider.config.diagnostics import Code
from batchy_provider.config.field_types import as_state_date
from batchy_provider.config.file_scan import CALENDARS_STEM
from batchy_provider.config.run_checks import time_to_deadline
from batchy_provider.config.schedule_model import After, Within
from batchy_provider.core.dates import parse_date
from batchy_provider.plan.why_facts import Dependency, FileFacts, Need

if TYPE_CHECKING:
    from datetime import datetime

    from batchy_provider.config.diagnostics import Diagnostic
    from batchy_provider.config.model import WorkflowModel
    from batchy_provider.config.schedule_model import Wait
    from batchy_provider.config.workflow import Workflow

_BY = {"wait_for": Dependency.WAIT_FOR, "schedule": Dependency.AFTER, "window": Dependency.UNTIL}


def file_facts(workflow: Workflow | None, diagnostics: Sequence[Diagnostic]) -> FileFacts | None:
    """Return what the file of a workflow says.

    :param workflow: None if the file has errors, or if there is none.
    :param diagnostics: its errors.
    :returns: None if there is no file.
    """
    if diagnostics:
        first = _root(diagnostics)
        # The name of the file is enough for people, who know the folder.
        fault = str(replace(first, file=PurePath(first.file).name))
        return FileFacts(fault=fault, faults=len(diagnostics))
    if workflow is None:
        return None
    model = workflow.model
    if model is None:
        return FileFacts(has_dag=False)
    config = workflow.config()
    schedule = model.schedule
    after = schedule if isinstance(schedule, After) else None
    return FileFacts(
        has_dag=workflow.has_dag,
        enabled=model.enabled,
        starts_paused=model.paused is True,
        schedule=config.schedule,
        special=schedule if isinstance(schedule, str) and schedule in ("@once", "@continuous") else None,
        begins=_moment(model.start_date, model.timezone),
        ends=_moment(model.end_date, model.timezone),
        catches_up=model.catchup and model.start_date is not None,
        deadline=time_to_deadline(model),
        needs=tuple(_need(model, other, path) for other, path in needs(workflow)),
        after_any=after is not None and after.any,
        after_result=after.result if after is not None else "success",
    )


def _root(diagnostics: Sequence[Diagnostic]) -> Diagnostic:
    """Return the error that a person must correct first: of a calendar that cannot be used, the one in its file."""
    first = diagnostics[0]
    if first.code != Code.INVALID_CALENDAR.value:
        return first
    return next((each for each in diagnostics if PurePath(each.file).stem == CALENDARS_STEM), first)


def _moment(date: str | None, timezone: str) -> datetime | None:
    return None if date is None else parse_date(as_state_date(date, timezone))


def _need(model: WorkflowModel, other: str, path: Sequence[str | int]) -> Need:
    by = _BY[str(path[0])]
    if by is not Dependency.WAIT_FOR:
        return Need(workflow=other, by=by)
    wait: Wait = model.wait_for[int(path[1])]
    within = wait.scope.within if isinstance(wait.scope, Within) else None
    return Need(
        workflow=other,
        by=by,
        jobs=tuple(wait.jobs or ()),
        scope="within" if isinstance(wait.scope, Within) else wait.scope,
        within_seconds=None if within is None else within.total_seconds(),
        fail_on_failed=wait.on_failed == "fail",
        timezone=wait.timezone or model.timezone,
    )
