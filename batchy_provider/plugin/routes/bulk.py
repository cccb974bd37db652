# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes that run batches again, and that do one thing with many workflows."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from batchy_provider.core.names import check_workflow_name
from batchy_provider.exceptions import BatchyError
from batchy_provider.plugin.airflow_api import AirflowApi, AirflowApiDep, in_own_thread
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import Disclosure, DisclosureDep
from batchy_provider.plugin.error_codes import ERROR_CODES, ErrorCode, ServerError, kind_of
from batchy_provider.plugin.routes.batches import BatchId
from batchy_provider.plugin.routes.workflows import ChangeRequest
from batchy_provider.plugin.security import Caller, ChangingCaller, WorkflowEditor, WorkflowName
from batchy_provider.services.bulk_actions import (
    MAX_WORKFLOWS,
    BulkAction,
    BulkRequest,
    BulkResult,
    RefusedError,
)
from batchy_provider.services.composition import Services

router = APIRouter(tags=["bulk"])

_STATUS = {"forbidden": 403, "unauthenticated": 401, "unknown_dag": 404, "unknown_run": 404, "airflow_unavailable": 503}


class RerunRequest(ChangeRequest):
    """Which tasks of a batch run again."""

    only_failed: bool = Field(
        default=True,
        description="Only failed tasks, the tasks after them, and those that open and close the batch. Otherwise all.",
    )


class Rerun(BaseModel):
    """The run that Airflow runs again."""

    run_id: str


class BulkBody(ChangeRequest):
    """One thing to do with many workflows."""

    action: BulkAction = Field(
        description="`run_again`: run what failed in the latest batch again. `pause`, `unpause`: the DAG. `enable`: "
        "all disabled jobs. `restore`: what Redis lost, from the archive."
    )
    workflows: list[Annotated[str, Field(max_length=200)]] = Field(min_length=1, max_length=MAX_WORKFLOWS)
    batches: dict[str, Annotated[int, Field(ge=0, le=2**53)]] = Field(
        default={},
        max_length=MAX_WORKFLOWS,
        description="Workflow → the failed batch that you have seen. It is not run again if it runs again already, or "
        "if there is a newer one.",
    )


class BulkResults(BaseModel):
    """What happened to each workflow, in the order of the request."""

    results: list[BulkResult]


@router.post("/workflows/{workflow}/batches/{batch_id}/rerun", operation_id="rerun_batch", summary="Run a batch again")
async def rerun_batch(
    workflow: WorkflowName,
    batch_id: BatchId,
    caller: WorkflowEditor,
    services: ServicesDep,
    airflow: AirflowApiDep,
    body: RerunRequest | None = None,
) -> Rerun:
    """Clear the run of a batch, so that Airflow runs it again with the same window, as a new batch.

    You need the permission to edit task instances of the DAG, as for clearing in Airflow's UI. 409 if no run of a DAG
    opened the batch, or if none of its tasks has failed.
    """
    body = body or RerunRequest()
    try:
        run_id = await in_own_thread(
            lambda: services.bulk.run_again(
                workflow, batch_id, only_failed=body.only_failed, actor=caller.actor, control=airflow, why=body.why
            )
        )
    except RefusedError as error:
        code: ErrorCode = next((each for each in ERROR_CODES if each == error.code), "airflow_refused")
        raise ServerError(_STATUS.get(error.code, 409), code, str(error)) from error
    return Rerun(run_id=run_id)


@router.post("/bulk", operation_id="change_many", summary="Do one thing with many workflows")
async def change_many(
    body: BulkBody, caller: ChangingCaller, services: ServicesDep, airflow: AirflowApiDep, disclosure: DisclosureDep
) -> BulkResults:
    """Do one thing with each workflow, on its own, and return what happened to each.

    `result` is `done`; `already` if it was so before; `refused` if nothing has changed, and `text` says why; or
    `failed` in an outage. Each workflow needs the permission to edit its DAG. 403 if you may edit none of them. Each
    change is audited. After a lost reply, send the same request again: nothing is done twice.
    """
    return await in_own_thread(lambda: _change_many(body, caller, services, airflow, disclosure))


def _change_many(
    body: BulkBody, caller: Caller, services: Services, airflow: AirflowApi, disclosure: Disclosure
) -> BulkResults:
    for workflow in body.workflows:
        check_workflow_name(workflow)
    refusals = {workflow: _refusal(caller, workflow) for workflow in body.workflows}
    if all(text is not None for text in refusals.values()):
        raise HTTPException(403, next(text for text in refusals.values() if text is not None))
    request = BulkRequest(action=body.action, workflows=body.workflows, batches=body.batches, why=body.why)
    found = services.bulk.run(
        request, actor=caller.actor, control=airflow, refusal=refusals.__getitem__, code_of=_code_of
    )
    return BulkResults(results=[replace(each, text=disclosure.text(each.text, own=(each.workflow,))) for each in found])


def _refusal(caller: Caller, workflow: str) -> str | None:
    try:
        caller.must("PUT", workflow)
    except HTTPException as error:
        return str(error.detail)
    return None


def _code_of(error: BatchyError) -> str:
    return kind_of(error).code
