# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Wait in the triggerer, which ends the task itself, so that a wait needs no worker slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from batchy_provider.triggers.wait_multiplexer import RECHECK_SECONDS, multiplexer

if TYPE_CHECKING:
    from batchy_provider.core.waits import Verdict, Wait
    from batchy_provider.state.keys import Keys
    from batchy_provider.state.wait_queries import Asking


class WaitsyTrigger(BaseTrigger):
    """
    Wait until a workflow's batch has succeeded, or those of several, and end the task then.

    :param wait: fields of a `core.waits.Wait`; a list of these waits for several workflows.
    :param redis_conn_id: the connection; None for ``[batchy] redis_conn_id``.
    :param soft_fail: skip the task instead of failing it.
    :param began: when the wait began, Unix seconds; None for now. Only for what the log says.
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
        said, fault, state, workflows = "", "", "failed", []
        event: TriggerEvent = TaskSkippedEvent() if self.soft_fail else TaskFailedEvent()
        try:
            waits = [Wait(**fields) for fields in ([self.wait] if isinstance(self.wait, dict) else self.wait)]
            workflows = [wait.workflow for wait in waits]
            waiter = Waiter(workflows, began=began)
            async with aclosing(self._verdicts(waits)) as verdicts:
                async for workflow, verdict in verdicts:
                    is_new = waiter.take(workflow, verdict)
                    if waiter.is_over:
                        said = waiter.summary(time.time())
                        state = waiter.state
                        break
                    if is_new:
                        self._say(self.log.warning if verdict.obstacle else self.log.info, verdict.text)
            if waiter.state == "done":
                batches = waiter.batches
                found = next(iter(batches.values())) if isinstance(self.wait, dict) else batches
                event = TaskSuccessEvent(xcoms={"return_value": found})  # type: ignore[dict-item]
        except BatchyError as error:
            fault = str(error)
        # Only now that the wait is off the multiplexer: nobody comes back to a trigger that has fired.
        yield event
        # And only now that it has fired: where thousands fire at once, logging is what takes the time.
        self._say(self.log.error if fault else self.log.info, fault or said)
        metrics.waited(workflows, state, time.time() - began)
        bad = (fault or said) if state == "failed" else None
        traces.record("batchy.wait", began, error=bad, workflows=workflows, state=state)

    async def _verdicts(self, waits: Sequence[Wait]) -> AsyncGenerator[tuple[str, Verdict], None]:
        """Yield each workflow's verdicts as they come."""
        from batchy_provider.state.wait_queries import Question

        if len(waits) == 1:  # nearly always: ten thousand of them need no tasks of their own
            async with watch(self.redis_conn_id, waits[0].workflow, Question(waits[0])) as verdicts:
                async for verdict in verdicts:
                    yield waits[0].workflow, verdict
            return
        found: asyncio.Queue[tuple[str, Verdict | Exception]] = asyncio.Queue()

        async def pass_on(wait: Wait) -> None:
            try:
                async with watch(self.redis_conn_id, wait.workflow, Question(wait)) as verdicts:
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
    def _say(log: Callable[..., None], text: str) -> None:
        """Log, without waiting for it.

        What triggers log goes through a pipe to the triggerer's main process, which reads it slowly while it has
        events to store. A full pipe would hold up the event loop, and with it every other wait: so it is written in
        a thread, where Airflow's own last lines about this trigger stand in line behind it.
        """
        asyncio.get_running_loop().run_in_executor(None, copy_context().run, log, "%s", text)


def watch(
    redis_conn_id: str | None, workflow: str, ask: Callable[[Keys], Asking]
) -> AbstractAsyncContextManager[AsyncIterator[Verdict]]:
    """Watch what `ask` asks about a workflow, on the multiplexer of the connection; the wait ends with the context.

    :param ask: takes the workflow's keys and returns the generator of questions, see `state.wait_queries`.
    """
    from airflow.configuration import conf

    from batchy_provider.core.names import check_workflow_name
    from batchy_provider.hooks.batchy import BatchyHook

    hook = BatchyHook(redis_conn_id)
    waits = multiplexer(hook.redis_conn_id, hook.get_address_async)
    waits.recheck_seconds = conf.getfloat("batchy", "recheck_seconds", fallback=RECHECK_SECONDS)
    return aclosing(waits.watch(check_workflow_name(workflow), ask))
