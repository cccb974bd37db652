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

from batchy_provider.plugin.activity import ActiveRun, Activity, activity_of, states_by_task
from batchy_provider.plugin.airflow_dags import DagState, active_runs, dag_states, task_states
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import DisclosureDep
from batchy_provider.plugin.routes.workflows import Limit, Offset
from batchy_provider.plugin.security import AnyCaller, WorkflowName, WorkflowReader
from batchy_provider.services.answers import WorkflowSummary
from batchy_provider.services.workflows import sort_by

router = APIRouter(tags=["overview"])

RowFilter = Literal["open", "success", "failed", "new", "late", "faults", "paused", "waiting", "on_hold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewRow(WorkflowSummary):
    """A row of the overview: a workflow and its DAG.

    :param has_dag: Airflow has a DAG of this name.
    :param paused: the DAG is paused; None without a DAG.
    :param next_run: when the next run is due; UTC, ISO 8601.
    :param activity: what the next run does before it has opened its batch; None if there is no such run.
    """

    has_dag: bool = False
    paused: bool | None = None
    next_run: str | None = None
    activity: Activity | None = None

    @classmethod
    def of(cls, summary: WorkflowSummary, dag: DagState | None, runs: Sequence[ActiveRun] = ()) -> OverviewRow:
        """Make the row of a workflow.

        :param dag: None if Airflow has no DAG of it.
        :param runs: the runs of the DAG that have not ended, oldest first.
        """
        known: dict[str, Any] = {field.name: getattr(summary, field.name) for field in fields(summary)}
        if dag is None:
            return cls(**known)
        holder = summary.run if summary.status == "open" else None
        activity = activity_of(runs, holder, on_hold=summary.hold is not None)
        return cls(**known, has_dag=True, paused=dag.paused, next_run=dag.next_run, activity=activity)

    def matches(self, wanted: RowFilter) -> bool:
        """Tell whether the workflow belongs into a filtered list."""
        match wanted:
            case "late":
                return self.late_seconds is not None
            case "faults":
                return self.faults > 0
            case "paused":
                return self.paused is True
            case "on_hold":
                return self.hold is not None
            case "waiting":
                return self.status != "open" and self.activity is not None
            case status:
                return self.status == status


class Overview(BaseModel):
    """A part of the list of workflows, and how many workflows each filter selects."""

    items: list[OverviewRow]
    total: int
    limit: int
    offset: int
    counts: dict[str, int] = Field(description="Filter → number of workflows, before `kind` is applied.")
    may_upload: bool
    cfg_folder: str = Field(
        description="The folder of workflow files; `cfg` for callers who may not change Airflow's configuration."
    )


class Permissions(BaseModel):
    """What the caller may do with a workflow."""

    edit: bool
    logs: bool
    code: bool
    upload: bool


class OverviewDetail(BaseModel):
    """A workflow and its DAG, with the caller's permissions."""

    row: OverviewRow
    rights: Permissions
    tasks: dict[str, str] = Field(
        default={},
        description="Task → its state in Airflow, in the run that holds the open batch; `waiting` if not scheduled.",
    )
    runs: list[str] = Field(default=[], description="Runs of the DAG that have not ended, oldest first.")
    may_fill: bool = Field(description="Airflow has the DAG, and the caller may edit it and create runs of it.")


_FILTERS: tuple[RowFilter, ...] = get_args(RowFilter)


def _may_upload(caller: AnyCaller) -> bool:
    return conf.getboolean("batchy", "allow_upload", fallback=False) and caller.may_upload()


@router.get("/overview", operation_id="get_overview", summary="Overview of all workflows")
def get_overview(
    caller: AnyCaller,
    services: ServicesDep,
    disclosure: DisclosureDep,
    search: Annotated[str | None, Query(max_length=200, description="Part of a name or description.")] = None,
    kind: Annotated[
        RowFilter | None,
        Query(description="Only workflows with this status, or that are late, paused, on hold, waiting, or invalid."),
    ] = None,
    order_by: Annotated[
        str, Query(max_length=50, description="A column; `-` before its name reverses the order.")
    ] = "workflow",
    limit: Limit = 50,
    offset: Offset = 0,
) -> Overview:
    """Return the workflows that the caller may read, each with state, deadline, next run and dependencies."""
    found = services.workflows.search(search, only=caller.readable(services.workflows.all_names()))
    names = [summary.workflow for summary in found]
    dags, runs = dag_states(names), active_runs(names)
    rows = [OverviewRow.of(each, dags.get(each.workflow), runs.get(each.workflow, ())) for each in found]
    counts: dict[str, int] = {each: sum(row.matches(each) for row in rows) for each in _FILTERS}
    columns = [field.name for field in fields(OverviewRow)]
    selected = sort_by([row for row in rows if kind is None or row.matches(kind)], order_by, columns)
    return Overview(
        items=[*map(disclosure.summary, selected[offset : offset + limit])],
        total=len(selected),
        limit=limit,
        offset=offset,
        counts={"all": len(rows), **counts},
        may_upload=_may_upload(caller),
        cfg_folder=str(services.catalog.folder) if disclosure.sees_server else "cfg",
    )


@router.get("/overview/{workflow}", operation_id="get_overview_row", summary="Overview of one workflow")
def get_row(
    workflow: WorkflowName, caller: WorkflowReader, services: ServicesDep, disclosure: DisclosureDep
) -> OverviewDetail:
    """Return a workflow's row of the overview, and what the caller may do with the workflow."""
    summary = services.workflows.get(workflow).summary
    dag = dag_states([workflow]).get(workflow)
    rights = Permissions(
        edit=caller.may("PUT", workflow),
        logs=caller.may("GET", workflow, DagAccessEntity.TASK_LOGS),
        code=caller.may("GET", workflow, DagAccessEntity.CODE),
        upload=_may_upload(caller),
    )
    runs = active_runs([workflow]).get(workflow, [])
    row = OverviewRow.of(summary, dag, runs)
    tasks = _tasks(summary.workflow, summary.run) if summary.status == "open" and summary.run else {}
    visible = {disclosure.task(task): state for task, state in tasks.items()}
    return OverviewDetail(
        row=disclosure.summary(row),
        rights=rights,
        tasks=visible,
        runs=[run.run_id for run in runs],
        may_fill=dag is not None and caller.may_fill(workflow),
    )


def _tasks(workflow: str, run: str) -> dict[str, str]:
    before, slash, after = run.partition("/")  # "RUN" of the workflow's own DAG, "DAG/RUN" of another
    return states_by_task(task_states(before, after) if slash else task_states(workflow, run))
