# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Route of waits: answer when the wait is over, or when the time that the caller allows has passed."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from batchy_provider.core.vocabulary import VerdictCode, WaitState
from batchy_provider.plugin.airflow_services import Deployment
from batchy_provider.plugin.disclosure import Discloses
from batchy_provider.plugin.security import Reader, WorkflowName
from batchy_provider.services.waiter import Waiter

router = APIRouter(tags=["waits"])

RECHECK_SECONDS = 10.0
"""For batches closed by programs that tell nobody, and connections that were lost."""


class Standing(BaseModel):
    """How a wait stands."""

    state: WaitState
    batch_id: int | None = Field(description="The batch that ended it.")
    code: VerdictCode | None = Field(description="What the wait has found, for programs.")
    text: str = Field(description="A sentence for people.")
    day: str | None = Field(description="The day that is meant: give it when you ask again after midnight.")
    timezone: str = Field(description="The timezone of the day.")


@router.get("/workflows/{workflow}/wait", operation_id="wait_for", summary="Wait for a success")
async def wait_for(
    workflow: WorkflowName,
    request: Request,
    caller: Reader,
    services: Deployment,
    tells: Discloses,
    job: Annotated[list[str], Query(max_length=200, description="Only these jobs.")] = [],  # noqa: B006 - FastAPI's way
    within: Annotated[
        float | None, Query(gt=0, le=1e9, description="Seconds: a success that is no older counts.")
    ] = None,
    any: Annotated[bool, Query(description="Any success counts, however old.")] = False,
    day: Annotated[str | None, Query(max_length=40, description="A success since that day began counts.")] = None,
    timezone: Annotated[str | None, Query(max_length=60, description="Of the day; else the workflow's.")] = None,
    on_failed: Annotated[Literal["wait", "fail"], Query(description="What a failed batch does to the wait.")] = "wait",
    timeout: Annotated[float, Query(ge=0, le=60, description="Seconds until an answer comes in any case.")] = 0,
) -> Standing:
    """
    Answer as soon as all jobs have succeeded today, or when `timeout` is over: then ask again.

    By the same rules as the sensor and `batchy wait`. A workflow that nobody knows is waited for: it may come to be.
    """
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()

    def hear(event: dict[str, object]) -> None:
        if event.get("workflow") in (workflow, None):
            loop.call_soon_threadsafe(woken.set)

    waiter = Waiter([workflow], began=time.monotonic(), timeout=timeout, recheck=RECHECK_SECONDS)
    wait = await run_in_threadpool(
        services.waits.make,
        workflow,
        jobs=job,
        within_seconds=within,
        is_any=any,
        day=day,
        timezone=timezone,
        fail_on_failed=on_failed == "fail",
    )
    with services.events.watch(hear):
        while True:
            woken.clear()
            verdict = await run_in_threadpool(services.waits.ask, wait)
            waiter.take(workflow, verdict)
            pause = waiter.pause(time.monotonic())
            if waiter.is_over or not pause or await request.is_disconnected():
                return Standing(
                    state=verdict.state,
                    batch_id=verdict.batch_id,
                    code=verdict.code,
                    text=await run_in_threadpool(tells.text, verdict.text, own=(workflow, *job)),
                    day=wait.day,
                    timezone=wait.timezone,
                )
            try:
                await asyncio.wait_for(woken.wait(), pause)
            except asyncio.TimeoutError:
                continue
