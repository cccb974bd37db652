# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Closed batches as events of an asset, for an ``AssetWatcher``."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from batchy_provider.batches.names import check_workflow_name
from batchy_provider.exceptions import BatchyError
from batchy_provider.triggers.waitsy import watch

if TYPE_CHECKING:
    from batchy_provider.batches.model import Batch
    from batchy_provider.batches.names import Keys
    from batchy_provider.batches.store import BatchStore

T = TypeVar("T")

CONFIRM_SECONDS = 15.0
"""How long Airflow is given to store an event before it counts as told: it does so once a second."""
_FAULT_PAUSE_SECONDS = 60.0


class BatchClosedTrigger(BaseEventTrigger):
    """
    Tell of each batch of a workflow that is closed, by default of those that no run of Airflow has opened.

    ``Asset("batchy://sales", watchers=[AssetWatcher(name="sales", trigger=BatchClosedTrigger(workflow="sales"))])``
    is then also updated by batches of the command line, the REST API and the original Batchy server. How far it has
    come is kept in Redis. So nothing is lost while no triggerer runs; if one is killed just after it has told, it
    may be told once more.

    The event holds ``workflow``, ``batch_id``, ``status``, ``from_date``, ``to_date`` and ``batch_end``.

    :param workflow: the workflow.
    :param result: ``success``, ``failed``, or ``closed`` for both.
    :param outside_only: only batches that no run of Airflow has opened.
    :param name: tells watches of the same batches apart: two assets that are both to be updated by them need two.
    :param redis_conn_id: the connection; None for ``[batchy] redis_conn_id``.
    """

    def __init__(
        self,
        *,
        workflow: str,
        result: Literal["success", "failed", "closed"] = "success",
        outside_only: bool = True,
        name: str = "airflow",
        redis_conn_id: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not annotate it
        if result not in ("success", "failed", "closed"):
            raise ValueError(f"result is {result!r}; expected success, failed or closed")
        self.workflow = check_workflow_name(workflow)
        self.result = result
        self.outside_only = outside_only
        self.name = name
        self.redis_conn_id = redis_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger anew in a triggerer."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "workflow": self.workflow,
            "result": self.result,
            "outside_only": self.outside_only,
            "name": self.name,
            "redis_conn_id": self.redis_conn_id,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each batch, for ever."""
        from batchy_provider.batches.news import Watch, check_news, claim, confirm

        what = Watch(workflow=self.workflow, result=self.result, outside_only=self.outside_only, name=self.name)
        by = uuid.uuid4().hex
        confirming: set[asyncio.Task[None]] = set()

        async def confirm_later(batch_ids: list[int]) -> None:
            await asyncio.sleep(CONFIRM_SECONDS)
            try:
                await self._with_store(lambda store, keys: confirm(store.client, keys, what, batch_ids))
            except BatchyError as error:
                self.log.warning("%s. What was told may be told once more", error)

        try:
            while True:
                try:
                    async with watch(self.redis_conn_id, self.workflow, partial(check_news, watch=what)) as verdicts:
                        async for verdict in verdicts:
                            if verdict.state != "done":
                                continue
                            batches = await self._with_store(lambda store, keys: claim(store.client, keys, what, by))
                            for batch in batches:
                                yield TriggerEvent(_payload(batch))
                            if batches:
                                task = asyncio.create_task(confirm_later([batch.batch_id for batch in batches]))
                                confirming.add(task)
                                task.add_done_callback(confirming.discard)
                except BatchyError as error:
                    # A trigger that ends is started anew at once: better to say it once a minute.
                    self.log.error("%s", error)
                    await asyncio.sleep(_FAULT_PAUSE_SECONDS)
        finally:
            for task in confirming:
                task.cancel()

    async def _with_store(self, work: Callable[[BatchStore, Keys], T]) -> T:
        """Do something with the store in a thread; it is rare, and needs no connection in between."""
        from batchy_provider.batches.connect import client
        from batchy_provider.batches.store import BatchStore
        from batchy_provider.hooks.batchy import BatchyHook

        address = await BatchyHook(self.redis_conn_id).get_address_async()

        def in_thread() -> T:
            connection = client(address, client_name="batchy-news")
            try:
                store = BatchStore(connection)
                return work(store, store.keys(self.workflow))
            finally:
                connection.close()

        return await asyncio.to_thread(in_thread)


def _payload(batch: Batch) -> dict[str, Any]:
    return {
        "workflow": batch.workflow,
        "batch_id": batch.batch_id,
        "status": batch.status,
        "from_date": batch.from_date,
        "to_date": batch.to_date,
        "batch_end": batch.batch_end,
    }
