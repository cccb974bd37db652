# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes of live events (server-sent events) and of the health check."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from batchy_provider.plugin.airflow_services import Deployment
from batchy_provider.plugin.security import AnyCaller, Caller
from batchy_provider.services.composition import Services
from batchy_provider.services.events import BACK, Event

log = logging.getLogger(__name__)

router = APIRouter(tags=["events"])

HEARTBEAT_SECONDS = 15.0
MOST_WAITING = 1000
_TOLD = ("workflow", "event", "batch_id", "kind", "at")
"""What an event tells; other programs may put more on the channel."""


class Health(BaseModel):
    """Whether Redis answers."""

    redis: bool = Field(description="Always true: where it does not answer, the status is 503.")
    workflow_files: bool = Field(description="Whether this server sees the folder of workflow files.")


@router.get("/health", operation_id="get_health", summary="Is all well?")
def get_health(caller: AnyCaller, services: Deployment) -> Health:
    """Ask Redis for a sign of life. 503 if it gives none."""
    services.health.ping()
    return Health(redis=True, workflow_files=services.catalog.folder.is_dir())


@router.get(
    "/events",
    operation_id="watch_events",
    summary="What happens, as it happens",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}},
)
async def watch_events(request: Request, caller: AnyCaller, services: Deployment) -> StreamingResponse:
    """
    Tell of each change of a workflow that the caller may read, until the caller goes.

    Each event is JSON: `workflow`, `event` (`open`, `success`, `failed`, `window`, `load`, `switch`), `batch_id`,
    `kind`, `at`.
    `{"event": "lost"}` and `{"event": "back"}` tell of Redis; after `back`, look at everything anew.
    """
    stream = _stream(request, caller, services)
    headers = {"Cache-Control": "no-store", "Content-Encoding": "identity", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _stream(request: Request, caller: Caller, services: Services) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[Event] = asyncio.Queue(MOST_WAITING)

    def put(event: Event) -> None:
        if waiting.full():  # a reader that is too slow looks at everything anew instead
            while not waiting.empty():
                waiting.get_nowait()
            event = BACK
        waiting.put_nowait(event)

    with services.events.watch(lambda event: loop.call_soon_threadsafe(put, event)):
        yield ": watching\n\n"
        while not await request.is_disconnected():
            try:
                event = await asyncio.wait_for(waiting.get(), HEARTBEAT_SECONDS)
            except asyncio.TimeoutError:
                yield ": still here\n\n"
                continue
            name = event.get("workflow")
            try:
                is_seen = name is None or await run_in_threadpool(caller.may, "GET", name)
            except Exception:  # one event whose right cannot be asked must not end the stream
                log.exception("whether %s may read %s cannot be asked", caller.actor.by, name)
                event, is_seen = BACK, True
            if is_seen:
                told = {key: event[key] for key in _TOLD if key in event and not isinstance(event[key], dict | list)}
                yield f"data: {json.dumps(told)}\n\n"
