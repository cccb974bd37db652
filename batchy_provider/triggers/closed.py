# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Emit closed batches as events of an asset, for an ``AssetWatcher``."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from batchy_provider.core.names import check_workflow_name
from batchy_provider.core.vocabulary import SUBSCRIBED_RESULTS, SubscribedResult
from batchy_provider.exceptions import BatchyError
from batchy_provider.triggers.multiplexers import multiplexer

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch
    from batchy_provider.services.batch_deliveries import DeliveryService, Subscription

T = TypeVar("T")

CONFIRM_SECONDS = 15.0
"""Time to give Airflow to store an event before it is acknowledged; Airflow stores once a second."""
STORED_SECONDS = 5.0
"""If the trigger is stopped before that time, events of this age count as stored, and are acknowledged."""
_LAST_CONFIRM_SECONDS = 5.0
_FAULT_PAUSE_SECONDS = 60.0


class BatchClosedTrigger(BaseEventTrigger):
    """Fire for each closed batch of a workflow, by default only for batches that no run of Airflow has opened.

    ``Asset("batchy://sales", watchers=[AssetWatcher(name="sales", trigger=BatchClosedTrigger(workflow="sales"))])``
    is then also updated by batches of the command line, the REST API and the original Batchy server. Redis holds the
    offset, so no batch is lost while no triggerer runs. Delivery is at least once: if a triggerer is killed within 15
    seconds after an event, or stopped within 5, the event may fire again.

    The event holds ``workflow``, ``batch_id``, ``status``, ``from_date``, ``to_date`` and ``batch_end``.

    :param result: ``success``, ``failed``, or ``closed`` for both.
    :param outside_only: only batches that no run of Airflow has opened.
    :param name: name of the subscription; two assets that the same batches update need two names.
    :param redis_conn_id: the connection; None for ``[batchy] redis_conn_id``.
    """

    def __init__(
        self,
        *,
        workflow: str,
        result: SubscribedResult = "success",
        outside_only: bool = True,
        name: str = "airflow",
        redis_conn_id: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not annotate it
        if result not in SUBSCRIBED_RESULTS:
            raise ValueError(f"result is {result!r}; expected success, failed or closed")
        self.workflow = check_workflow_name(workflow)
        self.result = result
        self.outside_only = outside_only
        self.name = name
        self.redis_conn_id = redis_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and arguments from which a triggerer makes this trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "workflow": self.workflow,
            "result": self.result,
            "outside_only": self.outside_only,
            "name": self.name,
            "redis_conn_id": self.redis_conn_id,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each batch; never end."""
        from batchy_provider.services.batch_deliveries import Subscription

        subscription = Subscription(
            workflow=self.workflow, result=self.result, outside_only=self.outside_only, name=self.name
        )
        subscriber = uuid.uuid4().hex
        pending: dict[asyncio.Task[None], tuple[float, list[int]]] = {}
        """Task that acknowledges batches → when their events fired, and the ids of the batches."""

        async def acknowledge(batch_ids: list[int]) -> None:
            try:
                await self._with_deliveries(
                    subscription, subscriber, lambda deliveries: deliveries.acknowledge(batch_ids)
                )
            except BatchyError as error:
                self.log.warning("%s. These batches may be delivered again", error)

        async def acknowledge_later(batch_ids: list[int]) -> None:
            await asyncio.sleep(CONFIRM_SECONDS)
            await acknowledge(batch_ids)

        try:
            while True:
                try:
                    watching = multiplexer(self.redis_conn_id).watch_deliveries(subscription)
                    async with aclosing(watching) as verdicts:
                        async for verdict in verdicts:
                            if verdict.state != "done":
                                continue
                            batches = await self._with_deliveries(
                                subscription, subscriber, lambda deliveries: deliveries.take()
                            )
                            for batch in batches:
                                yield TriggerEvent(_payload(batch))
                            if batches:
                                fired = [batch.batch_id for batch in batches]
                                task = asyncio.create_task(acknowledge_later(fired))
                                pending[task] = time.monotonic(), fired
                                task.add_done_callback(lambda done: pending.pop(done, None))
                except BatchyError as error:
                    # Airflow restarts a trigger that ends at once; this reports the error once a minute instead.
                    self.log.error("%s", error)
                    await asyncio.sleep(_FAULT_PAUSE_SECONDS)
        finally:
            stopped = time.monotonic()
            stored = [i for at, fired in pending.values() if stopped - at >= STORED_SECONDS for i in fired]
            for task in pending:
                task.cancel()
            if stored:
                # A stop must not repeat these events. Younger ones may not be stored yet, so they fire again.
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(acknowledge(stored), _LAST_CONFIRM_SECONDS)

    async def _with_deliveries(
        self, subscription: Subscription, subscriber: str, work: Callable[[DeliveryService], T]
    ) -> T:
        """Do something with the deliveries, in a thread and on a connection that is closed afterwards: it is rare."""
        from batchy_provider.hooks.batchy import BatchyHook
        from batchy_provider.services.batch_deliveries import open_deliveries

        address = await BatchyHook(self.redis_conn_id).get_address_async()

        def in_thread() -> T:
            with open_deliveries(address, subscription, subscriber) as deliveries:
                return work(deliveries)

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
