# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes of gaps: show the data that was never loaded, and start the runs that load it."""

from __future__ import annotations

from dataclasses import dataclass

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from fastapi import APIRouter
from pydantic import BaseModel, Field

from batchy_provider.config.durations import parse_duration
from batchy_provider.exceptions import WindowError
from batchy_provider.plugin.airflow_dags import dag_states
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import DisclosureDep
from batchy_provider.plugin.routes.batches import DateText
from batchy_provider.plugin.routes.workflows import ChangeRequest
from batchy_provider.plugin.security import AnyCaller, WorkflowEditor, WorkflowName, WorkflowReader
from batchy_provider.services.fill_requests import FillNote, FillRequest, FillRun
from batchy_provider.services.gap_cache import GapView, WorkflowGap

router = APIRouter(tags=["gaps"])


class FillBody(ChangeRequest):
    """What to load. Without dates: the gaps."""

    from_date: DateText = Field(default=None, description="Start of a range (inclusive), UTC, ISO 8601.")
    to_date: DateText = Field(default=None, description="End of the range (exclusive). Default: the watermark.")
    every: str = Field(
        default="1d",
        max_length=100,
        description="Length of a slice. Whole days are days of the workflow's timezone.",
        examples=["1d", "6h", "1w"],
    )
    at_most: int | None = Field(default=None, ge=1, le=2**31, description="Only so many slices, the oldest ones.")
    dry_run: bool = Field(default=False, description="Start nothing. `run_id` is null then.")
    ignore_hold: bool = Field(default=False, description="Also while the workflow is on hold: the runs do not wait.")


class FilledSlices(BaseModel):
    """The slices, oldest first, and the runs that load them."""

    runs: list[FillRun]
    created: list[str] = Field(description="The runs that this request has queued. The others existed before.")
    notes: list[FillNote] = Field(description="What else you should know, for example that the DAG is paused.")


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewGap:
    """A gap, and what the caller can do about it.

    :param may_fill: the caller may start runs of the DAG.
    :param paused: the DAG is paused; None without a DAG.
    """

    gap: WorkflowGap
    may_fill: bool
    paused: bool | None


class OverviewGaps(BaseModel):
    """The gaps of all workflows, those of the jobs of a workflow merged where they touch."""

    items: list[OverviewGap]


@router.get("/gaps", operation_id="list_all_gaps", summary="Gaps of all workflows")
def list_all_gaps(caller: AnyCaller, services: ServicesDep) -> list[GapView]:
    """Return the data before the watermark that jobs have not loaded, by the ledger.

    The list has the workflows that you may read, without those whose state cannot be read.
    """
    found, _ = services.gaps.all(caller.readable(services.names.all()))
    return found


@router.get("/workflows/{workflow}/gaps", operation_id="list_gaps", summary="Gaps of one workflow")
def list_gaps(workflow: WorkflowName, caller: WorkflowReader, services: ServicesDep) -> list[GapView]:
    """Return the data before the watermark that the jobs of a workflow have not loaded, by the ledger."""
    return services.gaps.of(workflow)


@router.get("/overview-gaps", operation_id="get_overview_gaps", summary="Gaps for the overview")
def get_overview_gaps(caller: AnyCaller, services: ServicesDep) -> OverviewGaps:
    """Return the gaps of all workflows that you may read, merged for each workflow, and what you may do."""
    found = services.gaps.merged(caller.readable(services.names.all()))
    names = {gap.workflow for gap in found}
    dags, rights = dag_states(names), {name: caller.may_fill(name) for name in names}
    items = [
        OverviewGap(
            gap=gap,
            may_fill=rights[gap.workflow] and gap.workflow in dags and not gap.disabled,
            paused=dags[gap.workflow].paused if gap.workflow in dags else None,
        )
        for gap in found
    ]
    return OverviewGaps(items=items)


@router.post("/workflows/{workflow}/fill", operation_id="fill_gaps", summary="Load gaps, or any range")
def fill_gaps(
    workflow: WorkflowName,
    caller: WorkflowEditor,
    services: ServicesDep,
    disclosure: DisclosureDep,
    body: FillBody | None = None,
) -> FilledSlices:
    """Queue one run for each slice. Each loads its slice as a history batch: the watermark stays.

    Slices that a run loads already are returned with that run, and not queued again. You need the permission to edit
    the DAG, and to create its runs.
    """
    body = body or FillBody()
    if not body.dry_run:
        caller.must("POST", workflow, DagAccessEntity.RUN)
    try:
        every = parse_duration(body.every)
    except ValueError as error:
        raise WindowError(f"every: {error}") from None
    request = FillRequest(
        from_date=body.from_date,
        to_date=body.to_date,
        every=every,
        at_most=body.at_most,
        dry_run=body.dry_run,
        ignore_hold=body.ignore_hold,
    )
    filled = services.fills.fill(workflow, request, actor=caller.actor, why=body.why)
    notes = [FillNote(code=note.code, text=disclosure.text(note.text, own=(workflow,))) for note in filled.notes]
    return FilledSlices(runs=filled.runs, created=filled.created, notes=notes)
