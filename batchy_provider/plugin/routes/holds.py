# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes of holds and notes: put a workflow on hold, release it, write notes on a batch, acknowledge its failure."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from batchy_provider.core.batch_notes import MAX_TEXT, BatchNote
from batchy_provider.core.holds import MAX_REASON
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import DisclosureDep
from batchy_provider.plugin.routes.batches import BatchId, DateText
from batchy_provider.plugin.routes.workflows import ChangeRequest
from batchy_provider.plugin.security import WorkflowEditor, WorkflowName
from batchy_provider.services.hold_answers import HoldView

router = APIRouter(tags=["holds"])


class HoldRequest(BaseModel):
    """A hold to set."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(
        description=f"The reason, for everyone who finds the workflow on hold. At most {MAX_REASON} characters.",
        max_length=2000,
    )
    until: DateText = Field(
        default=None,
        description="When the hold ends by itself, UTC, ISO 8601. Without it, only a release ends the hold.",
    )


class SetHold(BaseModel):
    """The hold that was set."""

    workflow: str
    until: str | None = Field(description="When it ends by itself; null if only a release ends it.")
    by: str
    why: str
    replaced: HoldView | None = Field(description="The earlier hold that it replaces.")
    open_batch: int | None = Field(description="The batch that is open now. It goes on.")


class NoteRequest(BaseModel):
    """A note to write."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(description=f"The note. At most {MAX_TEXT} characters.", max_length=8000)


class AcknowledgeRequest(BaseModel):
    """An acknowledgement."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = Field(default=None, description=f"A note. At most {MAX_TEXT} characters.", max_length=8000)


@router.post(
    "/workflows/{workflow}/hold",
    operation_id="hold_workflow",
    summary="Put on hold",
    status_code=201,
    responses={200: {"model": SetHold, "description": "The hold replaces an earlier one."}},
)
def hold_workflow(
    workflow: WorkflowName,
    body: HoldRequest,
    caller: WorkflowEditor,
    services: ServicesDep,
    disclosure: DisclosureDep,
    response: Response,
) -> SetHold:
    """Put a workflow on hold: no batch opens until a moment, or until the release.

    Runs wait. An open batch goes on. 200 instead of 201 if the hold replaces an earlier one.
    """
    made = services.holds.hold(workflow, actor=caller.actor, why=body.why, until=body.until)
    if made.replaced is not None:
        response.status_code = 200
    hold = disclosure.hold(made.hold)
    return SetHold(
        workflow=hold.workflow,
        until=hold.until,
        by=hold.by,
        why=hold.why,
        replaced=None if made.replaced is None else disclosure.hold(made.replaced),
        open_batch=made.open_batch,
    )


@router.post("/workflows/{workflow}/release", operation_id="release_workflow", summary="Release")
def release_workflow(
    workflow: WorkflowName,
    caller: WorkflowEditor,
    services: ServicesDep,
    disclosure: DisclosureDep,
    body: ChangeRequest | None = None,
) -> HoldView:
    """End the hold on a workflow, and return it. Waiting runs go on at once. 409 if the workflow is not on hold."""
    return disclosure.hold(
        services.holds.release(workflow, actor=caller.actor, why=body.why if body is not None else None)
    )


@router.post("/workflows/{workflow}/batches/{batch_id}/note", operation_id="note_batch", summary="Write a note")
def note_batch(
    workflow: WorkflowName,
    batch_id: BatchId,
    body: NoteRequest,
    caller: WorkflowEditor,
    services: ServicesDep,
    disclosure: DisclosureDep,
) -> list[BatchNote]:
    """Write a note on a batch. Returns all its notes, oldest first."""
    notes = services.holds.note(workflow, batch_id, body.text, actor=caller.actor)
    return disclosure.notes(notes, own=(workflow,))


@router.post(
    "/workflows/{workflow}/batches/{batch_id}/ack", operation_id="acknowledge_batch", summary="Acknowledge a failure"
)
def acknowledge_batch(
    workflow: WorkflowName,
    batch_id: BatchId,
    caller: WorkflowEditor,
    services: ServicesDep,
    disclosure: DisclosureDep,
    body: AcknowledgeRequest | None = None,
) -> list[BatchNote]:
    """Acknowledge the failure of a batch: lists show that somebody knows of it. Returns all notes of the batch.

    409 if the batch has not failed.
    """
    text = body.text if body is not None else None
    notes = services.holds.acknowledge(workflow, batch_id, text, actor=caller.actor)
    return disclosure.notes(notes, own=(workflow,))
