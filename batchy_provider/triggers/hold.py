# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Wait until a workflow is not on hold any more, so that a run can open its batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from batchy_provider.exceptions import BatchyError
from batchy_provider.triggers.multiplexers import multiplexer

_SHORTEST_PAUSE = 0.05


class HoldOverTrigger(BaseTrigger):
    """Fire when a workflow is not on hold any more: somebody has released it, or the hold has ended by itself.

    :param redis_conn_id: the connection; None for ``[batchy] redis_conn_id``.
    """

    def __init__(self, *, workflow: str, redis_conn_id: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow annotates it from 3.4 on
        self.workflow = workflow
        self.redis_conn_id = redis_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and arguments from which another triggerer makes this trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "workflow": self.workflow,
            "redis_conn_id": self.redis_conn_id,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event."""
        text = None
        while text is None:
            try:
                text = await self._wait_for_end()
            except BatchyError as error:
                # The task meets the same error, and reports it with more context.
                text = str(error)
        yield TriggerEvent({"text": text})

    async def _wait_for_end(self) -> str | None:
        """Return a sentence when the hold is over; None when it is time to ask again.

        A release and a new hold publish events. The end of a hold publishes nothing, so it is asked for in time.
        """
        pause: float | None = None
        async with aclosing(multiplexer(self.redis_conn_id).watch_hold(self.workflow)) as verdicts:
            while True:
                try:
                    verdict = await asyncio.wait_for(anext(verdicts), timeout=pause)
                except asyncio.TimeoutError:
                    return None
                if verdict.is_over:
                    return verdict.text
                left: float | None = getattr(verdict, "seconds_left", None)
                pause = None if left is None else max(left, _SHORTEST_PAUSE)
