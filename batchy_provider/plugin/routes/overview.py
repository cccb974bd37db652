# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Route of the overview: all workflows with what Airflow knows about their DAGs, for the first view of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.configuration import conf
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from batchy_provider.plugin.activity import ActiveRun, Activity, activity_of, job_states
from batchy_provider.plugin.airflow_facts import DagFacts, active_runs, dag_facts, task_states
from batchy_provider.plugin.airflow_services import Deployment
from batchy_provider.plugin.disclosure import Discloses
from batchy_provider.plugin.routes.workflows import Limit, Offset
from batchy_provider.plugin.security import AnyCaller, Reader, WorkflowName
from batchy_provider.services.answers import WorkflowSummary
from batchy_provider.services.workflows import sort_by

router = APIRouter(tags=["overview"])

RowFilter = Literal["open", "success", "failed", "new", "late", "faults", "paused", "waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewRow(WorkflowSummary):
    """
    A workflow in a line, with its DAG.

    :param has_dag: Airflow has a DAG of it.
    :param paused: that DAG is paused; None without one.
    :param next_run: when it is due next.
    :param activity: what a run of the DAG does that has not opened its batch yet; None if there is no such run.
    """

    has_dag: bool = False
    paused: bool | None = None
    next_run: str | None = None
    activity: Activity | None = None

    @classmethod
    def of(cls, summary: WorkflowSummary, facts: DagFacts | None, runs: Sequence[ActiveRun] = ()) -> OverviewRow:
        """Put a workflow and its DAG together."""
        known: dict[str, Any] = {field.name: getattr(summary, field.name) for field in fields(summary)}
        if facts is None:
            return cls(**known)
        activity = activity_of(runs, summary.run if summary.status == "open" else None)
        return cls(**known, has_dag=True, paused=facts.paused, next_run=facts.next_run, activity=activity)

    def is_a(self, kind: RowFilter) -> bool:
        """Tell whether it belongs to those that were asked for."""
        match kind:
            case "late":
                return self.late_seconds is not None
            case "faults":
                return self.faults > 0
            case "paused":
                return self.paused is True
            case "waiting":
                return self.status != "open" and self.activity is not None
            case status:
                return self.status == status


class Overview(BaseModel):
    """A part of the list, and how many there are of each kind in all of it."""

    items: list[OverviewRow]
    total: int
    limit: int
    offset: int
    counts: dict[str, int] = Field(description="Kind → how many, before `kind` is looked at.")
    may_upload: bool
    cfg_folder: str = Field(
        description="The folder of workflow files; `cfg` for callers who may not change Airflow's configuration."
    )


class Rights(BaseModel):
    """What the caller may do with a workflow."""

    edit: bool
    logs: bool
    code: bool
    upload: bool


class OneRow(BaseModel):
    """A workflow with its DAG, and the caller's rights."""

    row: OverviewRow
    rights: Rights
    tasks: dict[str, str] = Field(
        default={},
        description="Task → its state in Airflow, in the run that has the batch open; `waiting` before it begins.",
    )
    runs: list[str] = Field(default=[], description="Runs of the DAG that have not ended, oldest first.")


_KINDS: tuple[RowFilter, ...] = get_args(RowFilter)


def _may_upload(caller: AnyCaller) -> bool:
    return conf.getboolean("batchy", "allow_upload", fallback=False) and caller.may_upload()


@router.get("/overview", operation_id="get_overview", summary="All nights at a glance")
def get_overview(
    caller: AnyCaller,
    services: Deployment,
    tells: Discloses,
    search: Annotated[str | None, Query(max_length=200, description="Part of a name or description.")] = None,
    kind: Annotated[
        RowFilter | None, Query(description="Only those of a status, or late, faulty, paused, or waiting to begin.")
    ] = None,
    order_by: Annotated[str, Query(max_length=50, description="A column; `-` before it turns it round.")] = "workflow",
    limit: Limit = 50,
    offset: Offset = 0,
) -> Overview:
    """Return the workflows that the caller may read, each with its state, deadline, next run and neighbours."""
    found = services.workflows.search(search, only=caller.readable(services.workflows.all_names()))
    names = [summary.workflow for summary in found]
    facts, runs = dag_facts(names), active_runs(names)
    rows = [OverviewRow.of(each, facts.get(each.workflow), runs.get(each.workflow, ())) for each in found]
    counts: dict[str, int] = {each: sum(row.is_a(each) for row in rows) for each in _KINDS}
    columns = [field.name for field in fields(OverviewRow)]
    shown = sort_by([row for row in rows if kind is None or row.is_a(kind)], order_by, columns)
    return Overview(
        items=[*map(tells.summary, shown[offset : offset + limit])],
        total=len(shown),
        limit=limit,
        offset=offset,
        counts={"all": len(rows), **counts},
        may_upload=_may_upload(caller),
        cfg_folder=str(services.catalog.folder) if tells.sees_server else "cfg",
    )


@router.get("/overview/{workflow}", operation_id="get_overview_row", summary="One workflow at a glance")
def get_row(workflow: WorkflowName, caller: Reader, services: Deployment, tells: Discloses) -> OneRow:
    """Return a workflow's line, and what the caller may do with it."""
    summary = services.workflows.get(workflow).summary
    rights = Rights(
        edit=caller.may("PUT", workflow),
        logs=caller.may("GET", workflow, DagAccessEntity.TASK_LOGS),
        code=caller.may("GET", workflow, DagAccessEntity.CODE),
        upload=_may_upload(caller),
    )
    runs = active_runs([workflow]).get(workflow, [])
    row = OverviewRow.of(summary, dag_facts([workflow]).get(workflow), runs)
    tasks = _tasks(summary.workflow, summary.run) if summary.status == "open" and summary.run else {}
    told = {tells.task(task): state for task, state in tasks.items()}
    return OneRow(row=tells.summary(row), rights=rights, tasks=told, runs=[run.run_id for run in runs])


def _tasks(workflow: str, run: str) -> dict[str, str]:
    before, slash, after = run.partition("/")  # "run" is of the workflow's own DAG, "dag/run" of another
    return job_states(task_states(before, after) if slash else task_states(workflow, run))
