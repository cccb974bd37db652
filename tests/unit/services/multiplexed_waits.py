# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Waits on a multiplexer, and batches that end them, for the tests of the multiplexer."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any

from redis import Redis

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.services.wait_multiplexer import WaitMultiplexer
from batchy_provider.state.connections import Address, parse_url
from batchy_provider.state.store import Store
from batchy_provider.state.wait_queries import check

PATIENCE = 15.0


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test, timeout=45)

    asyncio.run(bounded())


def multiplexer_at(url: str, **kwargs: Any) -> WaitMultiplexer:
    async def address() -> Address:
        return parse_url(url)

    return WaitMultiplexer(address, **kwargs)


async def first(
    multiplexer: WaitMultiplexer, workflow: str, *, over: bool = True, verdicts: list[Verdict] | None = None
) -> Verdict:
    """Wait for a workflow's success; notes in `verdicts` all that was said on the way."""
    wait = Wait(workflow=workflow, scope="any")
    async with aclosing(multiplexer.watch(workflow, lambda keys: check(keys, wait))) as found:
        async for verdict in found:
            if verdicts is not None:
                verdicts.append(verdict)
            if verdict.is_over or not over:
                return verdict
    raise AssertionError


async def until(condition: Callable[[], Any], what: str = "") -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what or "it did not come about"
        await asyncio.sleep(0.01)


def open_batch(client: Redis, workflow: str) -> int:
    config = WorkflowConfig(name=workflow, jobs={"a": {}})
    return Store(client).open(workflow, OpenRequest(config=config, holder=Holder(by="test"))).batch_id


def close_batch(client: Redis, workflow: str) -> None:
    Store(client).close(workflow, CloseRequest(result="success"))


def succeed(client: Redis, workflow: str) -> int:
    batch_id = open_batch(client, workflow)
    close_batch(client, workflow)
    return batch_id


def succeed_silently(client: Redis, workflow: str) -> None:
    """As the original server does: the state, and no word."""
    job = {"status": "success", "batch_id": 7, "batch_end": "2026-01-01T00:00:00.5"}
    client.hset(workflow, "a", json.dumps(job))


def multiplexer_clients(client: Redis) -> list[str]:
    return sorted(c["name"] for c in client.client_list() if c["name"].startswith("batchy-"))


def commands(client: Redis, name: str) -> int:
    return client.info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"]


@asynccontextmanager
async def waiting(multiplexer: WaitMultiplexer, *workflows: str) -> AsyncIterator[list[asyncio.Task[Verdict]]]:
    """Waits that have been looked at once."""
    said: list[list[Verdict]] = [[] for _ in workflows]
    tasks = [asyncio.create_task(first(multiplexer, w, verdicts=v)) for w, v in zip(workflows, said, strict=True)]
    try:
        await until(lambda: all(said), "not all waits were looked at")
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
