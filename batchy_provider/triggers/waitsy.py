# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A wait in the triggerer: it ends the task itself, so that no worker slot is needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from batchy_provider.triggers.hub import RECHECK_SECONDS, hub

if TYPE_CHECKING:
    from batchy_provider.batches.names import Keys
    from batchy_provider.batches.waiting import Asking, Verdict


class WaitsyTrigger(BaseTrigger):
    """
    Wait until a workflow's batch has succeeded, and end the task then.

    :param wait: fields of `batches.waiting.Wait`.
    :param redis_conn_id: the connection; None for ``[batchy] redis_conn_id``.
    :param soft_fail: skip the task instead of failing it.
    """

    def __init__(self, *, wait: dict[str, Any], redis_conn_id: str | None = None, soft_fail: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow annotates it from 3.4 on
        self.wait = wait
        self.redis_conn_id = redis_conn_id
        self.soft_fail = soft_fail

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger anew in another triggerer."""
        kwargs = {"wait": self.wait, "redis_conn_id": self.redis_conn_id, "soft_fail": self.soft_fail}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, when the wait is over."""
        from batchy_provider.batches.waiting import Question, Wait
        from batchy_provider.exceptions import BatchyError

        said, fault = "", ""
        event: TriggerEvent = TaskSkippedEvent() if self.soft_fail else TaskFailedEvent()
        try:
            wait = Wait(**self.wait)
            async with watch(self.redis_conn_id, wait.workflow, Question(wait)) as verdicts:
                async for verdict in verdicts:
                    if verdict.state == "done":
                        event = TaskSuccessEvent(xcoms={"return_value": verdict.batch_id})
                    if verdict.is_over:
                        said = verdict.text
                        break
                    if verdict.text != said:
                        said = verdict.text
                        self._say(self.log.info, said)
        except BatchyError as error:
            fault = str(error)
        # Only now that the wait is off the hub: nobody comes back to a trigger that has fired.
        yield event
        # And only now that it has fired: where thousands fire at once, logging is what takes the time.
        self._say(self.log.error if fault else self.log.info, fault or said)

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
    """Watch what `ask` asks about a workflow, on the hub of the connection; the wait ends with the context.

    :param ask: takes the workflow's keys and returns the generator of questions, see `batches.waiting`.
    """
    from airflow.configuration import conf

    from batchy_provider.batches.names import check_workflow_name
    from batchy_provider.hooks.batchy import BatchyHook

    hook = BatchyHook(redis_conn_id)
    waits = hub(hook.redis_conn_id, hook.get_address_async)
    waits.recheck_seconds = conf.getfloat("batchy", "recheck_seconds", fallback=RECHECK_SECONDS)
    return aclosing(waits.watch(check_workflow_name(workflow), ask))
