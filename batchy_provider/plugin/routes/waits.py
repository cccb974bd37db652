# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Route of waits: answer when the wait is over, or when the time that the caller allows has passed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from batchy_provider.core.vocabulary import OnFailed, VerdictCode, WaitState
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import DisclosureDep
from batchy_provider.plugin.security import WorkflowName, WorkflowReader
from batchy_provider.services.wait_answers import dump_intervals

router = APIRouter(tags=["waits"])

RECHECK_SECONDS = 10.0
"""Time between two checks without a notification: other programs close batches without one, and one may get lost."""


class MissingInterval(BaseModel):
    """A part of an interval that is not loaded."""

    from_date: str = Field(description="Its start (inclusive), ISO 8601 UTC.")
    to_date: str = Field(description="Its end (exclusive), ISO 8601 UTC.")


class JobInterval(BaseModel):
    """The interval that one job must have loaded."""

    job: str
    from_date: str = Field(description="Its start (inclusive), ISO 8601 UTC.")
    to_date: str = Field(description="Its end (exclusive), ISO 8601 UTC.")
    loaded: float = Field(description="How much of it is loaded, from 0 to 1.")
    loaded_until: str = Field(description="Up to where it is loaded without a gap, ISO 8601 UTC.")
    missing: list[MissingInterval] = Field(description="The parts of it that are not loaded.")


class WaitAnswer(BaseModel):
    """The state of a wait."""

    state: WaitState
    batch_id: int | None = Field(description="The batch that ended the wait.")
    code: VerdictCode | None = Field(description="What the wait has found, for programs.")
    text: str = Field(description="A sentence for people.")
    day: str | None = Field(
        description="The day of the wait. Give it when you ask again, so that midnight changes nothing."
    )
    due: str | None = Field(
        description="The due time of the wait, if it asks for `due`, ISO 8601 UTC. Give it when you ask again."
    )
    timezone: str = Field(description="The timezone of the day.")
    intervals: list[JobInterval] = Field(
        description="What each job must have loaded and how much of it is loaded, if the wait asks for `due`."
    )


@router.get("/workflows/{workflow}/wait", operation_id="wait_for", summary="Wait for a workflow")
async def wait_for(
    workflow: WorkflowName,
    request: Request,
    caller: WorkflowReader,
    services: ServicesDep,
    disclosure: DisclosureDep,
    job: Annotated[list[str], Query(max_length=200, description="Only these jobs.")] = [],  # noqa: B006 - FastAPI's way
    within: Annotated[
        float | None, Query(gt=0, le=1e9, description="A success counts if it is at most so many seconds old.")
    ] = None,
    any: Annotated[bool, Query(description="Any success counts, however old.")] = False,
    due: Annotated[
        str | None,
        Query(
            max_length=40,
            description="All data must be loaded up to the last due time of the workflow, at this moment or before it: "
            "`now`, or ISO 8601 UTC.",
        ),
    ] = None,
    day: Annotated[
        str | None, Query(max_length=40, description="A success counts if it is not older than the start of this day.")
    ] = None,
    timezone: Annotated[
        str | None, Query(max_length=60, description="Timezone of the day; by default the timezone of the workflow.")
    ] = None,
    on_failed: Annotated[OnFailed, Query(description="What to do when a batch fails.")] = "wait",
    timeout: Annotated[float, Query(ge=0, le=60, description="Seconds after which an answer comes in any case.")] = 0,
) -> WaitAnswer:
    """Answer when all jobs have succeeded today, or when `timeout` is over. Then ask again.

    The rules are those of the sensor and of `batchy wait`. An unknown workflow is waited for: somebody may create it.
    """
    wait = await run_in_threadpool(
        services.waits.make,
        workflow,
        jobs=job,
        within_seconds=within,
        is_any=any,
        due=due,
        day=day,
        timezone=timezone,
        fail_on_failed=on_failed == "fail",
    )
    verdict = await services.waits.answer(
        wait, timeout=timeout, recheck=RECHECK_SECONDS, is_unwanted=request.is_disconnected
    )
    return WaitAnswer(
        state=verdict.state,
        batch_id=verdict.batch_id,
        code=verdict.code,
        text=await run_in_threadpool(disclosure.text, verdict.text, own=(workflow, *job)),
        day=wait.day,
        due=wait.due,
        intervals=[JobInterval(**each) for each in dump_intervals(verdict.intervals)],
        timezone=wait.timezone,
    )
