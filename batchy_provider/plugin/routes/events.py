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

from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.security import AnyCaller, Caller
from batchy_provider.services.composition import Services
from batchy_provider.services.events import BACK, Event

log = logging.getLogger(__name__)

router = APIRouter(tags=["events"])

HEARTBEAT_SECONDS = 15.0
MAX_QUEUED = 1000
_PUBLIC_KEYS = ("workflow", "event", "batch_id", "kind", "at")
"""Keys of an event that go to callers. Other programs may publish more on the channel."""


class Health(BaseModel):
    """Whether Redis answers."""

    redis: bool = Field(description="Always true: if Redis does not answer, the status is 503.")
    workflow_files: bool = Field(description="Whether this server sees the folder of workflow files.")


@router.get("/health", operation_id="get_health", summary="Health check")
def get_health(caller: AnyCaller, services: ServicesDep) -> Health:
    """Check that Redis answers. 503 if it does not."""
    services.health.ping()
    return Health(redis=True, workflow_files=services.catalog.folder.is_dir())


@router.get(
    "/events",
    operation_id="watch_events",
    summary="Stream of events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}},
)
async def watch_events(request: Request, caller: AnyCaller, services: ServicesDep) -> StreamingResponse:
    """Send each change of a workflow that the caller may read, until the caller disconnects.

    Each event is JSON: `workflow`, `event` (`open`, `success`, `failed`, `window`, `load`, `switch`), `batch_id`,
    `kind`, `at`.
    `{"event": "lost"}` means that Redis does not answer, `{"event": "back"}` that it does again. After `back`, read
    all data again: events may be missing.
    """
    stream = _stream(request, caller, services)
    headers = {"Cache-Control": "no-store", "Content-Encoding": "identity", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _stream(request: Request, caller: Caller, services: Services) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    queued: asyncio.Queue[Event] = asyncio.Queue(MAX_QUEUED)

    def put(event: Event) -> None:
        if queued.full():  # a caller that is too slow reads all data again instead
            while not queued.empty():
                queued.get_nowait()
            event = BACK
        queued.put_nowait(event)

    with services.events.watch(lambda event: loop.call_soon_threadsafe(put, event)):
        yield ": watching\n\n"
        while not await request.is_disconnected():
            try:
                event = await asyncio.wait_for(queued.get(), HEARTBEAT_SECONDS)
            except asyncio.TimeoutError:
                yield ": still here\n\n"
                continue
            name = event.get("workflow")
            try:
                is_seen = name is None or await run_in_threadpool(caller.may, "GET", name)
            except Exception:  # one permission that cannot be checked must not end the stream
                log.exception("The permission of %s to read %s cannot be checked", caller.actor.by, name)
                event, is_seen = BACK, True
            if is_seen:
                known = {key: event[key] for key in _PUBLIC_KEYS if key in event}
                public = {key: value for key, value in known.items() if not isinstance(value, dict | list)}
                yield f"data: {json.dumps(public)}\n\n"
