# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Route of the overview: all workflows with what Airflow knows about their DAGs, for the first view of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.configuration import conf
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from batchy_provider.plugin.activity import ActiveRun, states_by_task
from batchy_provider.plugin.airflow_dags import DagState, active_runs, dag_states, dag_tags, task_states
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import DisclosureDep
from batchy_provider.plugin.overview_rows import (
    DagFacts,
    ListedRow,
    OverviewRow,
    RowCache,
    RowFilter,
    completed,
    counts_of,
    label_counts,
    ordered,
)
from batchy_provider.plugin.routes.workflows import Limit, Offset, Owners, Tags
from batchy_provider.plugin.security import AnyCaller, Caller, WorkflowName, WorkflowReader
from batchy_provider.services.answers import WorkflowSummary
from batchy_provider.services.composition import Services
from batchy_provider.services.list_filters import is_found, is_labelled

router = APIRouter(tags=["overview"])
_rows = RowCache()


class Overview(BaseModel):
    """A part of the list of workflows, and how many workflows each filter selects."""

    items: list[OverviewRow]
    total: int
    limit: int
    offset: int
    counts: dict[str, int] = Field(
        description="Filter → number of workflows, before `kind` is applied. `failures`: those that have failed or "
        "cannot be read, and that nobody has acknowledged."
    )
    tags: dict[str, int] = Field(
        default={}, description="Tag → number of workflows that have it, of all that you may read."
    )
    owners: dict[str, int] = Field(
        default={}, description="Owner → number of workflows that have it, of all that you may read."
    )
    editable: list[str] = Field(default=[], description="The workflows of `items` that you may change.")
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


def _may_upload(caller: AnyCaller) -> bool:
    return conf.getboolean("batchy", "allow_upload", fallback=False) and caller.may_upload()


@router.get("/overview", operation_id="get_overview", summary="Overview of all workflows", response_model=Overview)
def get_overview(
    caller: AnyCaller,
    services: ServicesDep,
    disclosure: DisclosureDep,
    search: Annotated[str | None, Query(max_length=200, description="Part of a name or description.")] = None,
    kind: Annotated[
        RowFilter | None,
        Query(
            description="Only workflows with this status, or that are late, paused, on hold, waiting, invalid, or "
            "acknowledged as failed. `problems`: those that need a person."
        ),
    ] = None,
    tag: Tags = [],  # noqa: B006 - how FastAPI works
    owner: Owners = [],  # noqa: B006 - how FastAPI works
    order_by: Annotated[
        str,
        Query(
            max_length=50,
            description="A column, or `problems`: what needs a person first. `-` before its name reverses the order.",
        ),
    ] = "workflow",
    limit: Limit = 50,
    offset: Offset = 0,
) -> Response:
    """Return the workflows that the caller may read, each with state, deadline, next run and dependencies."""
    files = services.workflows.files()
    names = services.workflows.all_names(files)
    readable = disclosure.readable(names)
    known = _listed(services.workflows.summaries(readable, files))
    _rows.keep(names)
    rows = [each for each in known if is_found(each.row, search) and is_labelled(each.row, tag, owner)]
    selected = ordered([each for each in rows if kind is None or kind in each.kinds], order_by)
    items = _completed(selected[offset : offset + limit], caller, services)
    found = Overview(
        items=[*map(disclosure.summary, items)],
        total=len(selected),
        limit=limit,
        offset=offset,
        counts=counts_of(rows),
        tags=label_counts(known, lambda row: row.tags),
        owners=label_counts(known, lambda row: row.owners),
        editable=caller.permitted("PUT", [row.workflow for row in items]),
        may_upload=_may_upload(caller),
        cfg_folder=str(services.catalog.folder) if disclosure.sees_server else "cfg",
    )
    # FastAPI's own way checks each value again.
    return Response(found.model_dump_json(), media_type="application/json")


def _listed(found: list[WorkflowSummary]) -> list[ListedRow]:
    names = [summary.workflow for summary in found]
    dags, runs = dag_states(names), active_runs(names)
    tags = dag_tags([each.workflow for each in found if not each.in_cfg and each.workflow in dags])
    default = conf.get("operators", "default_owner")
    return [
        _rows.row(
            each,
            _facts(each, dags.get(each.workflow), runs.get(each.workflow, ()), tags.get(each.workflow, ()), default),
        )
        for each in found
    ]


def _facts(
    summary: WorkflowSummary, dag: DagState | None, runs: Sequence[ActiveRun], tags: Sequence[str], default: str
) -> DagFacts:
    """Return what a row has of Airflow.

    :param default: the owner that Airflow gives to tasks without one, which says nothing.
    """
    if summary.in_cfg or dag is None:
        return DagFacts(dag, runs, tags)
    return DagFacts(dag, runs, tags, [owner for owner in dag.owners if owner != default])


def _completed(rows: list[OverviewRow], caller: Caller, services: Services) -> list[OverviewRow]:
    failed = [row.workflow for row in rows if row.status == "failed"]
    failures = services.why.failures(failed, sees_output=caller.sees_output(failed))
    return completed(rows, failures, services.workflows.next_starts([row.workflow for row in rows]))


@router.get("/overview/{workflow}", operation_id="get_overview_row", summary="Overview of one workflow")
def get_row(
    workflow: WorkflowName, caller: WorkflowReader, services: ServicesDep, disclosure: DisclosureDep
) -> OverviewDetail:
    """Return a workflow's row of the overview, and what the caller may do with the workflow."""
    summary = services.workflows.get(workflow).summary
    dag = dag_states([workflow]).get(workflow)
    tags = [] if dag is None or summary.in_cfg else dag_tags([workflow]).get(workflow, [])
    rights = Permissions(
        edit=caller.may("PUT", workflow),
        logs=caller.may("GET", workflow, DagAccessEntity.TASK_LOGS),
        code=caller.may("GET", workflow, DagAccessEntity.CODE),
        upload=_may_upload(caller),
    )
    runs = active_runs([workflow]).get(workflow, [])
    facts = _facts(summary, dag, runs, tags, conf.get("operators", "default_owner"))
    (row,) = _completed([facts.row(summary)], caller, services)
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
