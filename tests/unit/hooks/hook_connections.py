# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Connections and one night of work, for tests of the hook."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from airflow.sdk import Connection

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.waits import Wait
from batchy_provider.hooks.batchy import BatchyHook
from batchy_provider.services.wait_multiplexer import WaitMultiplexer
from batchy_provider.state.store import Store
from batchy_provider.state.wait_queries import ask, check


def connection(**parts: Any) -> Connection:
    extra = parts.pop("extra", {})
    return Connection(**{"conn_id": "c", "conn_type": "redis", "host": "h", "extra": json.dumps(extra), **parts})


def one_night(store: Store) -> int:
    config = WorkflowConfig(name="wf", jobs={"a": {}, "b": {}})
    batch = store.open("wf", OpenRequest(config=config, holder=Holder(by="test")))
    store.close("wf", CloseRequest(result="success"))
    wait = Wait(workflow="wf", scope="any")
    assert ask(store.backend, wait).batch_id == batch.batch_id
    return batch.batch_id


def waited_for(hook: BatchyHook) -> int | None:
    """Wait on a multiplexer, as the triggerer does."""

    async def test() -> int | None:
        wait = Wait(workflow="wf", scope="any")
        async for verdict in WaitMultiplexer(hook.get_address_async).watch("wf", lambda keys: check(keys, wait)):
            assert verdict.is_over, verdict.text
            return verdict.batch_id
        return None

    return asyncio.run(asyncio.wait_for(test(), timeout=15))
