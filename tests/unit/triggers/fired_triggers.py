# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What triggers say: sent through the metadata database and run to their end, on a store with batches."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.vocabulary import Result
from batchy_provider.state.store import Store
from batchy_provider.triggers import multiplexers as multiplexers_module


def opened(store: Store, workflow: str = "wf") -> int:
    config = WorkflowConfig(name=workflow, jobs={"a": {}})
    return store.open(workflow, OpenRequest(config=config, holder=Holder(by="test"))).batch_id


def closed(store: Store, result: Result = "success", workflow: str = "wf") -> int:
    batch_id = opened(store, workflow)
    store.close(workflow, CloseRequest(result=result))
    return batch_id


def sent(trigger: BaseTrigger) -> Any:
    """Send a trigger through the metadata database, as Airflow does."""
    from airflow.serialization.serialized_objects import BaseSerialization

    path, kwargs = trigger.serialize()
    module, _, name = path.rpartition(".")
    stored = json.loads(json.dumps(BaseSerialization.serialize(kwargs)))
    return getattr(import_module(module), name)(**BaseSerialization.deserialize(stored))


def fired(trigger: BaseTrigger, *, meanwhile: Any = None) -> list[TriggerEvent]:
    """Return all that a trigger says; `meanwhile` runs once it waits."""

    async def test() -> list[TriggerEvent]:
        task = asyncio.create_task(all_events(trigger))
        if meanwhile is not None:
            await asyncio.wait_for(looked(), timeout=10)
            assert not task.done()
            meanwhile()
        found = await asyncio.wait_for(task, timeout=10)
        (multiplexer,) = multiplexers_module._multiplexers[asyncio.get_running_loop()].values()
        assert not multiplexer._questions, "the trigger has fired and still waits"
        return found

    return asyncio.run(test())


async def looked() -> None:
    """Wait until the one multiplexer of this loop has nothing to look at but what events will name."""
    multiplexers = multiplexers_module._multiplexers
    loop = asyncio.get_running_loop()
    while not (
        loop in multiplexers
        and all(multiplexer._recheck_at and not multiplexer._marked for multiplexer in multiplexers[loop].values())
    ):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)


async def all_events(trigger: BaseTrigger) -> list[TriggerEvent]:
    return [event async for event in trigger.run()]
