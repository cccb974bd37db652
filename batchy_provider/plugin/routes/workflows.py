# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes of workflows and jobs: show them, move the watermark, reset to the file, switch jobs on and off."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.core.job_state import Fields
from batchy_provider.core.values import PersonalChange
from batchy_provider.core.vocabulary import Status
from batchy_provider.plugin.airflow_services import Deployment
from batchy_provider.plugin.disclosure import Discloses, shown_jobs
from batchy_provider.plugin.security import AnyCaller, Editor, Job, Reader, WorkflowName
from batchy_provider.services.answers import JobSummary, WorkflowDetail, WorkflowSummary

router = APIRouter(tags=["workflows"])

Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
Offset = Annotated[int, Query(ge=0, le=2**31, description="How many to leave out before.")]
Why = Annotated[str | None, Field(max_length=2000, description="A reason, for the record.")]


class Body(BaseModel):
    """What a change may be told."""

    model_config = ConfigDict(extra="forbid")


class Reason(Body):
    """A change that needs nothing but, perhaps, a reason."""

    why: Why = None


class NewWindow(Reason):
    """Where the next window starts."""

    from_date: str = Field(description="UTC, ISO 8601.", examples=["2026-11-01T00:00:00"], max_length=100)
    jobs: list[str] = Field(default=[], description="Only these; without any, all.", max_length=1000)


class WorkflowPage(BaseModel):
    """A part of the list of workflows."""

    items: list[WorkflowSummary]
    total: int
    limit: int
    offset: int


class SwitchedOff(BaseModel):
    """The jobs that are switched off now."""

    disabled: list[str]


@router.get("/workflows", operation_id="list_workflows", summary="List workflows")
def list_workflows(
    caller: AnyCaller,
    services: Deployment,
    tells: Discloses,
    search: Annotated[str | None, Query(max_length=200, description="Part of a name or description.")] = None,
    status: Annotated[Status | None, Query(description="Of the latest batch.")] = None,
    order_by: Annotated[str, Query(max_length=50, description="A column; `-` before it turns it round.")] = "workflow",
    limit: Limit = 50,
    offset: Offset = 0,
) -> WorkflowPage:
    """Return the workflows that the caller may read: those in Redis and those that only a file defines."""
    readable = caller.readable(services.workflows.all_names())
    page = services.workflows.find(
        search=search, status=status, order_by=order_by, limit=limit, offset=offset, only=readable
    )
    return WorkflowPage(items=[*map(tells.summary, page.items)], total=page.total, limit=page.limit, offset=page.offset)


@router.get("/workflows/{workflow}", operation_id="get_workflow", summary="One workflow")
def get_workflow(workflow: WorkflowName, caller: Reader, services: Deployment, tells: Discloses) -> WorkflowDetail:
    """
    Return a workflow with its jobs, its file, the faults of that, and what people changed.

    The file's text needs the right to read the DAG's code; its secrets are `***` without the right to edit the DAG.
    """
    return tells.detail(services.workflows.get(workflow))


@router.get("/workflows/{workflow}/jobs", operation_id="list_jobs", summary="Jobs of a workflow")
def list_jobs(workflow: WorkflowName, caller: Reader, services: Deployment, tells: Discloses) -> list[JobSummary]:
    """Return the jobs as they stand, handlers too."""
    return tells.detail(services.workflows.get(workflow)).job_states


@router.get("/workflows/{workflow}/changes", operation_id="list_changes", summary="What people changed")
def list_changes(
    workflow: WorkflowName, caller: Reader, services: Deployment, tells: Discloses
) -> list[PersonalChange]:
    """Return the newest changes that people made: who, when, from where, why."""
    return tells.detail(services.workflows.get(workflow)).changes


@router.get("/workflows/{workflow}/faults", operation_id="list_faults", summary="Faults of a workflow's file")
def list_faults(workflow: WorkflowName, caller: Reader, services: Deployment, tells: Discloses) -> list[Diagnostic]:
    """Return what is wrong with its file."""
    return tells.detail(services.workflows.get(workflow)).faults


@router.put("/workflows/{workflow}/window", operation_id="set_window", summary="Move the watermark")
def set_window(workflow: WorkflowName, body: NewWindow, caller: Editor, services: Deployment) -> dict[str, Fields]:
    """Let the next window of some jobs, or of all, start at a date. Returns those jobs as they are now."""
    moved = services.workflows.set_window(workflow, body.from_date, jobs=body.jobs, actor=caller.actor, why=body.why)
    return shown_jobs(moved)


@router.post("/workflows/{workflow}/load", operation_id="load_workflow", summary="Reset to the file")
def load_workflow(
    workflow: WorkflowName, caller: Editor, services: Deployment, body: Reason | None = None
) -> dict[str, Fields]:
    """Reset a workflow to its file: windows start at the file's initial dates, history stays. Returns its jobs."""
    return shown_jobs(services.workflows.load(workflow, actor=caller.actor, why=body.why if body else None))


@router.post("/workflows/{workflow}/jobs/{job}/enable", operation_id="enable_job", summary="Switch a job on")
def enable_job(
    workflow: WorkflowName, job: Job, caller: Editor, services: Deployment, body: Reason | None = None
) -> SwitchedOff:
    """Switch a job on again; it catches up from where its window stopped."""
    return _switch(services, workflow, job, caller, body, enabled=True)


@router.post("/workflows/{workflow}/jobs/{job}/disable", operation_id="disable_job", summary="Switch a job off")
def disable_job(
    workflow: WorkflowName, job: Job, caller: Editor, services: Deployment, body: Reason | None = None
) -> SwitchedOff:
    """Switch a job off: it is skipped, and its window does not move."""
    return _switch(services, workflow, job, caller, body, enabled=False)


def _switch(services: Any, workflow: str, job: str, caller: Any, body: Reason | None, *, enabled: bool) -> SwitchedOff:
    off = services.workflows.switch(workflow, job, enabled=enabled, actor=caller.actor, why=body.why if body else None)
    return SwitchedOff(disabled=sorted(off))
