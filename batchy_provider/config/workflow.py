# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Describe a workflow as its file defines it, and return what the state layer needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchy_provider.config.field_types import as_state_date
from batchy_provider.config.job_model import Job
from batchy_provider.config.job_order import Order
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.run_checks import schedule_of_model
from batchy_provider.core.calendars import Calendar
from batchy_provider.core.job_state import INITIAL_DATE, Fields
from batchy_provider.core.schedules import NO_SCHEDULE, Schedule
from batchy_provider.core.values import WorkflowConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """One valid workflow file.

    :param name: the file's stem.
    :param path: the file.
    :param model: its keys; None for a file in the form of the original Batchy, which is state and no DAG.
    :param order: which job follows which; None as above.
    :param calendar: the calendar that its schedule names; None without one.
    :param original: job → params of a file in the original's form; None for all other files.
    """

    name: str
    path: Path
    model: WorkflowModel | None = None
    order: Order | None = None
    calendar: Calendar | None = None
    original: Mapping[str, Fields] | None = None

    @property
    def has_dag(self) -> bool:
        """Tell whether a DAG is to be made of it."""
        return self.model is not None and self.model.enabled

    @property
    def uses_classes(self) -> bool:
        """Tell whether it names Python classes, which only Airflow can check."""
        return bool(self.classes)

    @property
    def classes(self) -> list[str]:
        """The Python classes that it names: operators and notifiers."""
        model = self.model
        if model is None:
            return []
        found = [job.operator for job in model.jobs.values() if job.operator is not None]
        notifiers = [model.on_failure, model.on_success]
        for settings in (model.defaults, *model.jobs.values()):
            notifiers += [settings.on_failure, settings.on_retry, settings.on_success]
        if model.deadline is not None:
            notifiers += [model.deadline.notify, model.deadline.warned]
        return found + [notifier.notifier for each in notifiers for notifier in each or ()]

    @property
    def schedule(self) -> Schedule:
        """When it is due, as far as cron expressions say so."""
        return NO_SCHEDULE if self.model is None else schedule_of_model(self.model, self.calendar)

    def config(self) -> WorkflowConfig:
        """Return what the state layer needs."""
        if self.model is None:
            return WorkflowConfig(name=self.name, jobs=dict(self.original or {}))
        jobs = {name: job for name, job in self.model.jobs.items() if not job.is_handler}
        return WorkflowConfig(
            name=self.name,
            jobs={name: fields_of(job, self.model) for name, job in jobs.items()},
            timezone=self.model.timezone,
            disabled=frozenset(name for name, job in jobs.items() if not job.enabled),
            infa=self.model.infa.model_dump(exclude_none=True) if self.model.infa is not None else {},
            schedule=self.schedule,
            window=None if self.model.window is None else self.model.window.shape(),
        )


def setting(job: Job, model: WorkflowModel, name: str) -> Any:
    """Return a setting of a job: its own, or that of the file's defaults."""
    own = getattr(job, name)
    return own if own is not None else getattr(model.defaults, name)


def environment(job: Job, model: WorkflowModel) -> dict[str, str]:
    """Return a job's environment variables, those of the file's defaults below its own."""
    return {**model.defaults.env, **job.env}


def fields_of(job: Job, model: WorkflowModel) -> Fields:
    """Return what the state keeps of a job's configuration, flat: settings first, then the user's params."""
    fields: Fields = {}
    if (hours := setting(job, model, "reprocess_hours")) is not None:
        fields["reprocess_hours"] = hours
    if (trunc := setting(job, model, "trunc_start")) is not None:
        fields["trunc_start"] = trunc
    if (initial := setting(job, model, "initial_date") or model.initial_date) is not None:
        fields[INITIAL_DATE] = as_state_date(initial, model.timezone)
    return {**fields, **job.params}
