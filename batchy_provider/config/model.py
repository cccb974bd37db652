# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The keys of a whole workflow file: name, type and meaning of each. ``docs/yaml.md`` shows them as tables.

Checks that need more than one key are in `key_checks`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from batchy_provider.config.base_model import FileModel, Notifiers, OneOrMore, Owner
from batchy_provider.config.field_types import (
    DateText,
    Names,
    PositiveDuration,
    Timezone,
)
from batchy_provider.config.job_model import Job, Settings
from batchy_provider.config.schedule_model import Deadline, RunParams, Schedule, Waits
from batchy_provider.config.window_model import WindowModel

InfaText = Annotated[str, Field(pattern=r"^[^\[\]\r\n]+$")]


class Infa(FileModel):
    """How the Informatica parameter file names its sections."""

    folder: InfaText | None = Field(
        default=None,
        description="PowerCenter folder: headings are `[folder.WF:workflow.ST:job]`. Without it `[job]`, as "
        "the original Batchy writes them.",
    )
    workflow: InfaText | None = Field(
        default=None, description="Workflow in PowerCenter; without it, the name of this file."
    )
    session: InfaText | None = Field(default=None, description="Session; `{job}` is the job's name. Default: `{job}`.")
    dates: Literal["powercenter", "iso"] = Field(
        default="powercenter",
        description="`powercenter` writes `MM/DD/YYYY HH24:MI:SS.US`; `iso` as the original Batchy.",
    )


class SharedModel(FileModel):
    """Keys that `_defaults.yaml` may have, for all files below it."""

    description: str | None = Field(default=None, description="One line, shown beside the DAG's name.")
    doc: str | None = Field(default=None, description="Documentation in Markdown, shown in Airflow's UI.")
    schedule: Schedule | None = Field(
        default=None,
        description="When to run: a cron expression, a preset (`@daily`), a list of cron expressions, "
        "`{cron: …}` with a calendar, `{after: [workflow, …]}`, or nothing for runs by hand.",
    )
    timezone: Timezone = Field(
        default="UTC", description="IANA name; of the schedule, of `trunc_start`, and of dates in this file."
    )
    start_date: DateText | None = Field(default=None, description="Nothing is scheduled before it.")
    end_date: DateText | None = Field(default=None, description="Nothing is scheduled after it.")
    catchup: bool = Field(default=False, description="Run what was missed since `start_date`.")
    max_active_runs: OneOrMore = Field(default=1, description="Runs at the same time.")
    run_timeout: PositiveDuration | None = Field(
        default=None, description="How long a whole run may take, waits included; then it is failed."
    )
    max_active_jobs: OneOrMore | None = Field(
        default=None, description="Tasks of this workflow at the same time; default: Airflow's setting."
    )
    run_params: RunParams = Field(
        default_factory=dict,
        description="Values that a person may give to a run: Airflow shows a form; jobs use `{{ params.name }}`.",
    )
    on_failure: Notifiers | None = Field(default=None, description="Airflow notifiers to call when a run has failed.")
    on_success: Notifiers | None = Field(
        default=None, description="Airflow notifiers to call when a run has succeeded."
    )
    deadline: Deadline | None = Field(default=None, description="Time by which each batch should be closed.")
    wait_for: Waits = Field(
        default_factory=list, description="Workflows to wait for: a name, a mapping, or a list of these."
    )
    # `Settings()` would build this model for itself alone, in each process that reads a file without defaults.
    defaults: Settings = Field(default_factory=Settings.model_construct, description="Settings for all jobs.")
    tags: Names = Field(default_factory=list, description="Tags in Airflow's UI.")
    owner: Owner | None = Field(default=None, description="Owner of all tasks, for jobs that name none.")
    if_open: Literal["fail", "wait", "take_over"] = Field(
        default="fail", description="What to do when another active run holds the batch open."
    )
    initial_date: DateText | None = Field(
        default=None, description="Start of the very first window of each job, inclusive."
    )
    window: WindowModel | None = Field(
        default=None,
        description="Shape of the windows; without it, each goes up to the moment at which the batch opens.",
    )
    connection: str | None = Field(default=None, description="Airflow connection of the Redis server.")
    enabled: bool = Field(default=True, description="`false` makes no DAG of this file.")
    paused: bool | None = Field(default=None, description="Start a new DAG paused; default: Airflow's setting.")
    infa: Infa | None = Field(default=None, description="Sections of the Informatica parameter file.")


class WorkflowModel(SharedModel):
    """One workflow: one file, one DAG."""

    jobs: Annotated[dict[str, Job], Field(min_length=1)] = Field(
        description="Name → job, in order: each follows the one before it."
    )
