# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Wait until another run's batch is closed, so that this run can open its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from batchy_provider.exceptions import BatchyError
from batchy_provider.triggers.multiplexers import multiplexer


class BatchFreeTrigger(BaseTrigger):
    """Fire when a batch is no longer the open one, or when it is time to check whether its holder still runs.

    :param batch_id: the open batch.
    :param redis_conn_id: the connection; None for ``[batchy] redis_conn_id``.
    :param look_again_seconds: fire after this time at the latest, since a holder that was killed closes nothing.
    """

    def __init__(
        self, *, workflow: str, batch_id: int, redis_conn_id: str | None = None, look_again_seconds: float = 60
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow annotates it from 3.4 on
        self.workflow = workflow
        self.batch_id = batch_id
        self.redis_conn_id = redis_conn_id
        self.look_again_seconds = look_again_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and arguments from which another triggerer makes this trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "workflow": self.workflow,
            "batch_id": self.batch_id,
            "redis_conn_id": self.redis_conn_id,
            "look_again_seconds": self.look_again_seconds,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event."""
        try:
            text = await asyncio.wait_for(self._wait_until_free(), timeout=self.look_again_seconds)
        except BatchyError as error:
            # The task meets the same error, and reports it with more context.
            text = str(error)
        except asyncio.TimeoutError:
            text = f"{self.workflow}: batch {self.batch_id} is still open; asking whether its holder still runs"
        yield TriggerEvent({"text": text})

    async def _wait_until_free(self) -> str:
        watching = multiplexer(self.redis_conn_id).watch_open_batch(self.workflow, self.batch_id)
        async with aclosing(watching) as verdicts:
            async for verdict in verdicts:
                if verdict.is_over:
                    return verdict.text
        raise AssertionError("a watch does not end by itself")
