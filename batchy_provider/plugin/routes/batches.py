# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes of batches: list, open, close and fail them; show data that was never loaded, or twice."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from batchy_provider.core.values import Batch
from batchy_provider.core.vocabulary import Kind, Result
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import DisclosureDep
from batchy_provider.plugin.routes.workflows import ChangeRequest, Limit, Offset
from batchy_provider.plugin.security import Caller, WorkflowEditor, WorkflowName, WorkflowReader
from batchy_provider.services.answers import BatchView, CoverageView
from batchy_provider.services.batch_comparison import ComparisonView
from batchy_provider.services.composition import Services

router = APIRouter(tags=["batches"])

BatchId = Annotated[int, Path(ge=0, le=2**53, description="Id of a batch.")]
DateText = Annotated[str | None, Field(max_length=100, examples=["2026-11-01T00:00:00"])]


class OpenBatchRequest(ChangeRequest):
    """A batch to open. Without dates, it takes the next window."""

    from_date: DateText = Field(default=None, description="Start of the window (inclusive), UTC, ISO 8601.")
    to_date: DateText = Field(default=None, description="End of the window (exclusive), UTC, ISO 8601.")
    move_watermark: bool = Field(
        default=False,
        description="The next window starts at `to_date`. Otherwise a batch with given dates is history only.",
    )
    take_over: bool = Field(default=False, description="Take over the open batch, even if a run holds it.")
    ignore_hold: bool = Field(default=False, description="Open it even if the workflow is on hold.")


class OpenedBatch(BaseModel):
    """The batch that was opened."""

    batch: BatchView
    warning: str | None = Field(default=None, description="A warning for people, about how the batch was opened.")


class BatchPage(BaseModel):
    """A part of the history of batches, newest first."""

    items: list[BatchView]
    total: int
    limit: int
    offset: int
    archive_error: str | None = Field(
        default=None, description="Why the archive cannot be read: batches that only it has are missing here."
    )


@router.get("/workflows/{workflow}/batches", operation_id="list_batches", summary="List batches")
def list_batches(
    workflow: WorkflowName,
    caller: WorkflowReader,
    services: ServicesDep,
    disclosure: DisclosureDep,
    status: Annotated[
        Literal["open", "success", "failed"] | None,
        Query(description="Only batches with this status; then the list knows only Redis."),
    ] = None,
    kind: Annotated[
        Kind | None,
        Query(
            description="`history`: backfills, one-off loads, and old windows that run again. With it, the list knows "
            "only Redis."
        ),
    ] = None,
    limit: Limit = 20,
    offset: Offset = 0,
) -> BatchPage:
    """Return the batches of a workflow, newest first, backfills included.

    Where a page goes beyond what Redis has, it goes on with the batches that only the archive has; these are
    `archived`, and `total` counts them from then on. With `status` or `kind`, only Redis is asked, and `total` counts
    what it has; `/history` with `workflow`, `status` and `kind` searches the archive, too.
    """
    if status is None and kind is None:
        found = services.workflow_history.page(workflow, limit=limit, offset=offset)
        error = found.older.archive_error if found.older is not None else None
        return BatchPage(
            items=[disclosure.batch(BatchView.of(batch)) for batch in found.batches],
            total=found.total,
            limit=found.limit,
            offset=found.offset,
            archive_error=None if error is None else disclosure.text(error, own=[workflow]),
        )
    page = services.batches.history(workflow, status=status, kind=kind, limit=limit, offset=offset)
    return BatchPage(items=[*map(disclosure.batch, page.items)], total=page.total, limit=page.limit, offset=page.offset)


@router.get("/workflows/{workflow}/coverage", operation_id="get_coverage", summary="Gaps and overlaps in the data")
def get_coverage(
    workflow: WorkflowName, caller: WorkflowReader, services: ServicesDep, limit: Limit = 1000
) -> CoverageView:
    """Return gaps before the watermark, and data that was loaded more than once, in the latest batches in Redis.

    Live batches, backfills and one-off loads all count, job by job.
    """
    return services.batches.coverage(workflow, limit=limit)


@router.post("/workflows/{workflow}/batches", operation_id="open_batch", summary="Open a batch", status_code=201)
def open_batch(
    workflow: WorkflowName,
    caller: WorkflowEditor,
    services: ServicesDep,
    disclosure: DisclosureDep,
    body: OpenBatchRequest | None = None,
) -> OpenedBatch:
    """Open a batch by hand.

    409 while another batch is open, unless `take_over` is true; with code `on_hold` while a person has put the workflow
    on hold, unless `ignore_hold` is true; and, with code `nothing_to_load`, while there is no new
    data and the shape of the workflow's windows skips that.
    """
    body = body or OpenBatchRequest()
    batch = services.batches.open(
        workflow,
        actor=caller.actor,
        from_date=body.from_date,
        to_date=body.to_date,
        move_watermark=body.move_watermark,
        take_over=body.take_over,
        ignore_hold=body.ignore_hold,
        why=body.why,
    )
    warning = disclosure.text(batch.warning, own=(workflow, *batch.jobs)) if batch.warning else None
    return OpenedBatch(batch=disclosure.batch(BatchView.of(batch)), warning=warning)


@router.get("/workflows/{workflow}/batches/{batch_id}", operation_id="get_batch", summary="One batch")
def get_batch(
    workflow: WorkflowName, batch_id: BatchId, caller: WorkflowReader, services: ServicesDep, disclosure: DisclosureDep
) -> BatchView:
    """Return a batch with its jobs; one that Redis has removed or lost, from the archive, as `archived`.

    503 with code `archive_error` if Redis does not have it, and the archive cannot be read.
    """
    return disclosure.batch(services.batches.get(workflow, batch_id))


@router.get(
    "/workflows/{workflow}/batches/{batch_id}/comparison",
    operation_id="compare_batch",
    summary="Compare a batch with the last good one",
)
def compare_batch(
    workflow: WorkflowName,
    batch_id: BatchId,
    caller: WorkflowReader,
    services: ServicesDep,
    disclosure: DisclosureDep,
    other_id: Annotated[
        int | None,
        Query(alias="with", ge=0, le=2**53, description="Id of the other batch. Default: the last good one before it."),
    ] = None,
) -> ComparisonView:
    """Return durations, output sizes, params, bundles and outcomes of two batches, and the job that differs first.

    Of a live batch, the last good one is the last live success before it. `previous` and `next` are the batches before
    and after it, in the order of opening. They and the last good one are found in Redis; name any other with `with`.
    """
    return disclosure.comparison(services.comparison.compare(workflow, batch_id, other_id))


@router.post("/workflows/{workflow}/batches/{batch_id}/close", operation_id="close_batch", summary="Close as success")
def close_batch(
    workflow: WorkflowName,
    batch_id: BatchId,
    caller: WorkflowEditor,
    services: ServicesDep,
    disclosure: DisclosureDep,
    body: ChangeRequest | None = None,
) -> BatchView:
    """Close a batch as success. The next window starts where its window ends."""
    return disclosure.batch(BatchView.of(_close(services, workflow, "success", caller, batch_id, body)))


@router.post("/workflows/{workflow}/batches/{batch_id}/fail", operation_id="fail_batch", summary="Close as failed")
def fail_batch(
    workflow: WorkflowName,
    batch_id: BatchId,
    caller: WorkflowEditor,
    services: ServicesDep,
    disclosure: DisclosureDep,
    body: ChangeRequest | None = None,
) -> BatchView:
    """Close a batch as failed. The next batch takes the same window."""
    return disclosure.batch(BatchView.of(_close(services, workflow, "failed", caller, batch_id, body)))


def _close(
    services: Services, workflow: str, result: Result, caller: Caller, batch_id: int, body: ChangeRequest | None
) -> Batch:
    why = body.why if body is not None else None
    return services.batches.close(workflow, result=result, actor=caller.actor, batch_id=batch_id, why=why)
