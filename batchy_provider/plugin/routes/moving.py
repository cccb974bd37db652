# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes to remove a workflow that is gone for good, and to give a workflow another name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from batchy_provider.core.names import check_workflow_name
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.routes.workflows import ChangeRequest
from batchy_provider.plugin.security import WorkflowName, WorkflowRemover
from batchy_provider.services.workflow_removal import RemovedWorkflow
from batchy_provider.services.workflow_renaming import RenamedWorkflow

router = APIRouter(tags=["workflows"])


class RenameRequest(ChangeRequest):
    """The new name of a workflow."""

    new: str = Field(description="A name that no workflow has.", max_length=200, examples=["orders"])


@router.delete("/workflows/{workflow}", operation_id="remove_workflow", summary="Remove a workflow")
def remove_workflow(
    workflow: WorkflowName,
    caller: WorkflowRemover,
    services: ServicesDep,
    force: Annotated[
        bool,
        Query(description="Also if a file defines it. Its next run then starts at `initial_date`."),
    ] = False,
    why: Annotated[str | None, Query(max_length=2000, description="A reason, for the audit log.")] = None,
) -> RemovedWorkflow:
    """Remove the state, history, ledger, archive and results of a workflow. Nothing can bring them back.

    409 while a batch is open, also with `force`, or while a file defines the workflow. If it is interrupted, send it
    again. It needs the permission to delete the DAG.
    """
    return services.removal.remove(workflow, actor=caller.actor, why=why, force=force)


@router.post("/workflows/{workflow}/rename", operation_id="rename_workflow", summary="Rename a workflow")
def rename_workflow(
    workflow: WorkflowName, body: RenameRequest, caller: WorkflowRemover, services: ServicesDep
) -> RenamedWorkflow:
    """Give the state, history, ledger and archive of a workflow another name. Rename its file yourself.

    409 while a batch is open, or if there is a workflow of the new name. If it is interrupted, send it again. It needs
    the permissions to delete the DAG of the old name and to edit the DAG of the new name.
    """
    caller.must("PUT", check_workflow_name(body.new))
    return services.renaming.rename(workflow, body.new, actor=caller.actor, why=body.why)
