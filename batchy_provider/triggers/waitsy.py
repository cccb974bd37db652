# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Wait in the triggerer, which ends the task itself, so that a wait needs no worker slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from batchy_provider.triggers.long_waits import long_waits
from batchy_provider.triggers.multiplexers import multiplexer

if TYPE_CHECKING:
    from batchy_provider.core.waits import Verdict, Wait


class WaitsyTrigger(BaseTrigger):
    """Wait until one or several workflows have succeeded, and then end the task.

    :param wait: fields of a `core.waits.Wait`; or a list of them, for several workflows.
    :param redis_conn_id: the connection; None for ``[batchy] redis_conn_id``.
    :param soft_fail: skip the task instead of failing it.
    :param began: when the wait began, Unix seconds, for the log and the metrics; None for now.
    """

    def __init__(
        self,
        *,
        wait: dict[str, Any] | list[dict[str, Any]],
        redis_conn_id: str | None = None,
        soft_fail: bool = False,
        began: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow annotates it from 3.4 on
        self.wait = wait
        self.redis_conn_id = redis_conn_id
        self.soft_fail = soft_fail
        self.began = began

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and arguments from which another triggerer makes this trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "wait": self.wait,
            "redis_conn_id": self.redis_conn_id,
            "soft_fail": self.soft_fail,
            "began": self.began,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, when the wait is over."""
        from batchy_provider.core.waits import Wait
        from batchy_provider.exceptions import BatchyError
        from batchy_provider.observability import metrics, traces
        from batchy_provider.services.waiter import Waiter

        began = time.time() if self.began is None else self.began
        summary, error, state, workflows = "", "", "failed", []
        event: TriggerEvent = TaskSkippedEvent() if self.soft_fail else TaskFailedEvent()
        try:
            waits = [Wait(**fields) for fields in ([self.wait] if isinstance(self.wait, dict) else self.wait)]
            workflows = [wait.workflow for wait in waits]
            waiter = Waiter(workflows, began=began)
            reports = partial(self._write, self.log.info)
            with long_waits(self.redis_conn_id).explain(lambda: waiter.missing, began, reports):
                async with aclosing(self._verdicts(waits)) as verdicts:
                    async for workflow, verdict in verdicts:
                        is_new = waiter.take(workflow, verdict)
                        if waiter.is_over:
                            summary = waiter.summary(time.time())
                            state = waiter.state
                            break
                        if is_new:
                            self._write(self.log.warning if verdict.obstacle else self.log.info, verdict.text)
            if waiter.state == "done":
                batches = waiter.batches
                found = next(iter(batches.values())) if isinstance(self.wait, dict) else batches
                event = TaskSuccessEvent(xcoms={"return_value": found})  # type: ignore[dict-item]  # JSON, too
        except BatchyError as raised:
            error = str(raised)
        # First the wait leaves the multiplexer, then the trigger fires: Airflow may never resume a trigger that fired.
        yield event
        # First the trigger fires, then it logs: if thousands fire at once, logging takes most of the time.
        self._write(self.log.error if error else self.log.info, error or summary)
        metrics.waited(workflows, state, time.time() - began)
        traces.record(
            "batchy.wait",
            began,
            error=(error or summary) if state == "failed" else None,
            workflows=workflows,
            state=state,
        )

    async def _verdicts(self, waits: Sequence[Wait]) -> AsyncGenerator[tuple[str, Verdict], None]:
        """Yield each workflow's verdicts as they come."""
        waits_on_redis = multiplexer(self.redis_conn_id)
        if len(waits) == 1:  # nearly always; ten thousand such waits need no tasks of their own
            async with aclosing(waits_on_redis.watch_wait(waits[0])) as verdicts:
                async for verdict in verdicts:
                    yield waits[0].workflow, verdict
            return
        found: asyncio.Queue[tuple[str, Verdict | Exception]] = asyncio.Queue()

        async def pass_on(wait: Wait) -> None:
            try:
                async with aclosing(waits_on_redis.watch_wait(wait)) as verdicts:
                    async for verdict in verdicts:
                        found.put_nowait((wait.workflow, verdict))
            except Exception as error:
                found.put_nowait((wait.workflow, error))

        tasks = [asyncio.create_task(pass_on(wait)) for wait in waits]
        try:
            while True:
                workflow, given = await found.get()
                if isinstance(given, Exception):
                    raise given
                yield workflow, given
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    def _write(log: Callable[..., None], text: str) -> None:
        """Log in a thread, without waiting for it.

        What triggers log goes through a pipe to the triggerer's main process, which reads it slowly while it stores
        events. A full pipe would block the event loop, and with it all other waits. Airflow's own last lines about this
        trigger come from the same threads, behind this one.
        """
        asyncio.get_running_loop().run_in_executor(None, copy_context().run, log, "%s", text)
