# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A running trigger of closed batches, and the batches that it delivers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from redis import Redis

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.vocabulary import Result
from batchy_provider.state.store import Store
from batchy_provider.triggers.closed import BatchClosedTrigger

PERSON = Holder(by="ann, on the command line")
CONFIG = WorkflowConfig(name="wf", jobs={"a": {}, "b": {}})


def load(store: Store, result: Result = "success", *, holder: Holder = PERSON) -> int:
    batch_id = store.open("wf", OpenRequest(config=CONFIG, holder=holder)).batch_id
    store.close("wf", CloseRequest(result=result, batch_id=batch_id))
    return batch_id


def original_load(client: Redis, batch_id: int, status: str = "success") -> int:
    """Write what the original server does, which publishes nothing and knows no index."""
    fields = {
        "batch_id": batch_id,
        "status": status,
        "batch_start": "2036-01-01T02:00:00",
        "to_date": "2036-01-01T02:00",
    }
    for job in ("a", "b"):
        client.hset("wf", job, json.dumps({**fields, "batch_end": "2036-01-01T03:00:00"}))
    return batch_id


class Delivered:
    """The events of a trigger that runs."""

    def __init__(self, **kwargs: Any) -> None:
        trigger = BatchClosedTrigger(**{"workflow": "wf", **kwargs})
        path, kwargs = trigger.serialize()
        assert path == "batchy_provider.triggers.closed.BatchClosedTrigger"
        self.events: list[Any] = []
        self._task = asyncio.create_task(self._run(BatchClosedTrigger(**kwargs)))

    async def _run(self, trigger: BatchClosedTrigger) -> None:
        async for event in trigger.run():
            self.events.append(event.payload)

    @property
    def ids(self) -> list[int]:
        return [payload["batch_id"] for payload in self.events]

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def watching(client: Redis, **kwargs: Any) -> AsyncIterator[Delivered]:
    """A trigger that has had its first look."""
    delivered = Delivered(**kwargs)
    try:
        await until(lambda: client.hlen("wf:told") > 0)
        yield delivered
    finally:
        await delivered.stop()


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come about")


def cursor(client: Redis, field: str = "airflow:success:outside") -> Any:
    return json.loads(client.hget("wf:told", field) or "{}")
