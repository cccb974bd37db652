# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes of workflows and jobs: show them, move the watermark, reset to the file, enable and disable jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.core.job_state import Fields
from batchy_provider.core.values import PersonalChange
from batchy_provider.core.vocabulary import Status
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import DisclosureDep
from batchy_provider.plugin.secret_masking import mask_jobs
from batchy_provider.plugin.security import AnyCaller, CheckedJobName, WorkflowEditor, WorkflowName, WorkflowReader
from batchy_provider.services.answers import JobSummary, WorkflowDetail, WorkflowSummary

router = APIRouter(tags=["workflows"])

Limit = Annotated[int, Query(ge=1, le=1000, description="How many items at most.")]
Offset = Annotated[int, Query(ge=0, le=2**31, description="How many items to skip.")]
Tags = Annotated[list[str], Query(max_length=100, description="Only workflows that have one of these tags.")]
Owners = Annotated[list[str], Query(max_length=100, description="Only workflows that have one of these owners.")]


class ChangeRequest(BaseModel):
    """The body of a request that changes something. It has a reason, if you want to give one."""

    model_config = ConfigDict(extra="forbid")

    why: str | None = Field(default=None, max_length=2000, description="A reason, for the audit log.")


class SetWindowRequest(ChangeRequest):
    """Where the next window starts."""

    from_date: str = Field(
        description="Start of the next window (inclusive), UTC, ISO 8601.",
        examples=["2026-11-01T00:00:00"],
        max_length=100,
    )
    jobs: list[str] = Field(default=[], description="Only these jobs. Without any, all jobs.", max_length=1000)


class WorkflowPage(BaseModel):
    """A part of the list of workflows."""

    items: list[WorkflowSummary]
    total: int
    limit: int
    offset: int


class DisabledJobs(BaseModel):
    """The jobs that are disabled now."""

    disabled: list[str]


@router.get("/workflows", operation_id="list_workflows", summary="List workflows")
def list_workflows(
    caller: AnyCaller,
    services: ServicesDep,
    disclosure: DisclosureDep,
    search: Annotated[str | None, Query(max_length=200, description="Part of a name or description.")] = None,
    status: Annotated[Status | None, Query(description="Only workflows whose latest batch has this status.")] = None,
    order_by: Annotated[
        str, Query(max_length=50, description="A column; `-` before its name reverses the order.")
    ] = "workflow",
    tag: Tags = [],  # noqa: B006 - how FastAPI works
    owner: Owners = [],  # noqa: B006 - how FastAPI works
    limit: Limit = 50,
    offset: Offset = 0,
) -> WorkflowPage:
    """Return the workflows that the caller may read: those in Redis, and those that only have a file."""
    readable = caller.readable(services.workflows.all_names())
    page = services.workflows.find(
        search=search,
        status=status,
        tags=tag,
        owners=owner,
        order_by=order_by,
        limit=limit,
        offset=offset,
        only=readable,
    )
    return WorkflowPage(
        items=[*map(disclosure.summary, page.items)], total=page.total, limit=page.limit, offset=page.offset
    )


@router.get("/workflows/{workflow}", operation_id="get_workflow", summary="One workflow")
def get_workflow(
    workflow: WorkflowName, caller: WorkflowReader, services: ServicesDep, disclosure: DisclosureDep
) -> WorkflowDetail:
    """Return a workflow with its jobs, its file with all errors in it, and the changes that people made.

    The text of the file needs the permission to read the DAG's code. Secrets in it are `***` without the permission to
    edit the DAG.
    """
    return disclosure.detail(services.workflows.get(workflow))


@router.get("/workflows/{workflow}/jobs", operation_id="list_jobs", summary="Jobs of a workflow")
def list_jobs(
    workflow: WorkflowName, caller: WorkflowReader, services: ServicesDep, disclosure: DisclosureDep
) -> list[JobSummary]:
    """Return the state of each job, handlers included."""
    return disclosure.detail(services.workflows.get(workflow)).job_states


@router.get("/workflows/{workflow}/changes", operation_id="list_changes", summary="Changes by people")
def list_changes(
    workflow: WorkflowName, caller: WorkflowReader, services: ServicesDep, disclosure: DisclosureDep
) -> list[PersonalChange]:
    """Return the newest changes that people made: who changed what, when, why and from where."""
    return disclosure.detail(services.workflows.get(workflow)).changes


@router.get("/workflows/{workflow}/faults", operation_id="list_faults", summary="Errors of a workflow file")
def list_faults(
    workflow: WorkflowName, caller: WorkflowReader, services: ServicesDep, disclosure: DisclosureDep
) -> list[Diagnostic]:
    """Return the errors of a workflow's file, each with line and column."""
    return disclosure.detail(services.workflows.get(workflow)).faults


@router.put("/workflows/{workflow}/window", operation_id="set_window", summary="Set the next window")
def set_window(
    workflow: WorkflowName, body: SetWindowRequest, caller: WorkflowEditor, services: ServicesDep
) -> dict[str, Fields]:
    """Set where the next window of some jobs, or of all jobs, starts. Returns the changed jobs."""
    moved = services.workflows.set_window(workflow, body.from_date, jobs=body.jobs, actor=caller.actor, why=body.why)
    return mask_jobs(moved)


@router.post("/workflows/{workflow}/load", operation_id="load_workflow", summary="Reset to the file")
def load_workflow(
    workflow: WorkflowName, caller: WorkflowEditor, services: ServicesDep, body: ChangeRequest | None = None
) -> dict[str, Fields]:
    """Reset a workflow to its file. Windows start at the initial dates of the file, history stays. Returns its jobs."""
    return mask_jobs(services.workflows.load(workflow, actor=caller.actor, why=body.why if body else None))


@router.post("/workflows/{workflow}/jobs/{job}/enable", operation_id="enable_job", summary="Enable a job")
def enable_job(
    workflow: WorkflowName,
    job: CheckedJobName,
    caller: WorkflowEditor,
    services: ServicesDep,
    body: ChangeRequest | None = None,
) -> DisabledJobs:
    """Enable a job again. It catches up from where its window stopped."""
    return _switch(services, workflow, job, caller, body, enabled=True)


@router.post("/workflows/{workflow}/jobs/{job}/disable", operation_id="disable_job", summary="Disable a job")
def disable_job(
    workflow: WorkflowName,
    job: CheckedJobName,
    caller: WorkflowEditor,
    services: ServicesDep,
    body: ChangeRequest | None = None,
) -> DisabledJobs:
    """Disable a job. It is skipped, and its window does not move."""
    return _switch(services, workflow, job, caller, body, enabled=False)


def _switch(
    services: Any, workflow: str, job: str, caller: Any, body: ChangeRequest | None, *, enabled: bool
) -> DisabledJobs:
    off = services.workflows.switch(workflow, job, enabled=enabled, actor=caller.actor, why=body.why if body else None)
    return DisabledJobs(disabled=sorted(off))
