# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Serve many waits on one Redis over one subscription and one connection for questions.

An event on the channel is only a hint, since Redis does not repeat what it publishes. The multiplexer asks about a
workflow

- when a wait begins, after it has subscribed to the channel,
- when an event names the workflow,
- when the connection was lost and it has subscribed again,
- every `recheck_seconds`, for writers that publish nothing, such as the original server.

Airflow 3.3 and newer has shared streams of triggers. We measured them for the triggerer and do not use them:

- They need Airflow 3.3; this works on 3.1.
- With 1,000 waits and one subscription, they took 1.43 s to wake all; this took 0.43 s.
- 3,000 messages about other workflows failed all waits: each wait has a queue of 1,024 messages, and fails when it is
  full. Here an event costs one look-up by workflow, and wakes only the waits for that workflow.
- They pass on messages only. The questions after a reconnection and the recheck would have to be built on top.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from batchy_provider.core.names import check_workflow_name
from batchy_provider.services.question_rounds import SharedQuestion, Watch, ask_all, deliver
from batchy_provider.services.redis_outage import RedisOutage
from batchy_provider.state.event_channel import read_event
from batchy_provider.state.keys import EVENTS_CHANNEL, Keys
from batchy_provider.state.wait_queries import Question, check_free, check_hold

if TYPE_CHECKING:
    from batchy_provider.core.waits import Verdict, Wait
    from batchy_provider.services.batch_deliveries import Subscription
    from batchy_provider.state.connections import Address
    from batchy_provider.state.wait_queries import Asking

RECHECK_SECONDS = 60.0
_ASKED_AT_ONCE = 200
"""So many questions are asked in one packet, however many watches ask each."""
_IDLE_SECONDS = 30.0
"""How long to keep the connections after the last wait."""
_SILENCE_SECONDS = 20.0
"""After this time without a message, ping the subscription; after as long again, give it up."""
_STUCK_SECONDS = 60.0
"""After this time, a round of questions counts as lost. redis-py has its own timeouts, but after one of them, in a
triggerer that was too busy to notice it (10,000 triggers started), it waited for ever to close the connection."""
_CLOSE_SECONDS = 5.0


def _ignore(_: object = None) -> None:
    """Ignore what the multiplexer reports."""


class WaitMultiplexer:
    """Serve the waits of one event loop on one Redis.

    :param address: returns where Redis is; called for each new connection, so that a changed address is used.
    :param recheck_seconds: how often to ask about all workflows without an event.
    :param on_outage: called when the connection to Redis is lost.
    :param on_waits: called with workflow → when each wait for it began, in seconds of the monotonic clock.
    """

    def __init__(
        self,
        address: Callable[[], Awaitable[Address]],
        recheck_seconds: float = RECHECK_SECONDS,
        *,
        on_outage: Callable[[], object] = _ignore,
        on_waits: Callable[[Mapping[str, Sequence[float]]], object] = _ignore,
    ) -> None:
        self._address = address
        self.recheck_seconds = recheck_seconds
        self._recheck_at = 0.0
        self._questions: dict[str, dict[Callable[[Keys], Asking], SharedQuestion]] = {}
        self._marked: dict[SharedQuestion, set[Watch]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._outage = RedisOutage(on_outage)
        self._on_waits = on_waits

    def watch_wait(self, wait: Wait) -> AsyncGenerator[Verdict, None]:
        """Yield the verdicts on a wait; see `watch`."""
        return self.watch(wait.workflow, Question(wait))

    def watch_open_batch(self, workflow: str, batch_id: int) -> AsyncGenerator[Verdict, None]:
        """Yield verdicts; they are done when the batch is not the open one any more. See `watch`."""
        return self.watch(workflow, partial(check_free, batch_id=batch_id))

    def watch_hold(self, workflow: str) -> AsyncGenerator[Verdict, None]:
        """Yield verdicts; they are done when the workflow is not on hold any more. See `watch`."""
        return self.watch(workflow, check_hold)

    def watch_deliveries(self, subscription: Subscription) -> AsyncGenerator[Verdict, None]:
        """Yield verdicts; they are done when there are closed batches to deliver. See `watch`."""
        from batchy_provider.state.deliveries import check_deliveries

        return self.watch(subscription.workflow, partial(check_deliveries, subscription=subscription))

    async def watch(self, workflow: str, ask: Callable[[Keys], Asking]) -> AsyncGenerator[Verdict, None]:
        """Yield the verdict at first and whenever it may have changed, until the caller closes the generator.

        While Redis cannot be used, yield a verdict that says so.

        :param ask: makes the question from the workflow's keys, see `state.wait_queries`. If two are equal, such as two
            `Question` of equal waits, one question serves both.
        :raises BatchyError: it is no name of a workflow, or the stored state cannot be read: waiting does not help.
        """
        others = self._questions.setdefault(check_workflow_name(workflow), {})
        question = others.get(ask)
        if question is None:
            question = others[ask] = SharedQuestion(workflow, ask)
        watch = Watch(question)
        question.watches.add(watch)
        self._marked.setdefault(question, set()).add(watch)
        self._wake.set()
        if self._task is None or self._task.done():
            # An empty context: Airflow sends what is logged in a trigger's context to the log of that trigger.
            self._task = Context().run(asyncio.create_task, self._run(), name="batchy-waits")
        try:
            while True:
                verdict = await watch.verdicts.get()
                if isinstance(verdict, Exception):
                    raise verdict
                yield verdict
        finally:
            self._leave(watch)

    def _leave(self, watch: Watch) -> None:
        """Forget a watch, and its question with the last watch that asks it."""
        question = watch.question
        question.watches.discard(watch)
        if question in self._marked:
            self._marked[question].discard(watch)
        if not question.watches:
            self._marked.pop(question, None)
            others = self._questions[question.workflow]
            del others[question.ask]
            if not others:
                del self._questions[question.workflow]

    def _mark(self, questions: Iterable[SharedQuestion]) -> None:
        """Mark questions that are to be asked next, for all their watches."""
        self._marked.update((question, set(question.watches)) for question in questions)
        if self._marked:
            self._wake.set()

    def _all(self) -> list[SharedQuestion]:
        return [question for questions in self._questions.values() for question in questions.values()]

    def _report_waits(self) -> None:
        """Report how many wait, and since when. Watches of other questions are no waits."""
        began = {
            workflow: [
                watch.began for ask, each in asked.items() if isinstance(ask, Question) for watch in each.watches
            ]
            for workflow, asked in self._questions.items()
        }
        self._on_waits({workflow: times for workflow, times in began.items() if times})

    # -- the connection ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Serve while there are watches; reconnect when the connection is lost."""
        # There is no await between the last check of the watches and the end of the task. So a new watch finds the task
        # running, and is served, or done, and starts another.
        while self._questions:
            try:
                await self._serve()
            except Exception as error:
                pause = self._outage.add_failure(error)
                verdict = self._outage.verdict()
                for question in self._all():
                    for watch in question.watches:
                        watch.put(verdict)
                await asyncio.sleep(pause)
        self._report_waits()

    async def _serve(self) -> None:
        """Subscribe, then ask for all watches, then for those that events name, until there are no watches."""
        from batchy_provider.state.connections import async_client, async_subscriber

        address = await self._address()
        client = async_client(address, client_name="batchy-waits")
        subscriber = async_subscriber(address, client_name="batchy-events")
        pubsub = subscriber.pubsub()
        listener: asyncio.Task[None] | None = None
        try:
            await asyncio.wait_for(pubsub.subscribe(EVENTS_CHANNEL), timeout=_STUCK_SECONDS)
            if await pubsub.get_message(timeout=_SILENCE_SECONDS) is None:
                raise ConnectionError("it did not confirm the subscription")
            listener = asyncio.create_task(self._listen(pubsub), name="batchy-events")
            listener.add_done_callback(lambda _: self._wake.set())
            self._recheck_at = 0.0
            while await self._wait_for_work(listener):
                marked = self._take_marked()
                asking = ask_all(client, marked, cluster=address.kind == "cluster")
                await asyncio.wait_for(asking, timeout=_STUCK_SECONDS)
                self._outage.end()
                for question, watches in marked.items():
                    if question.verdict is not None:
                        await deliver(question.verdict, watches)
        finally:
            if listener is not None:
                listener.cancel()
                await asyncio.wait([listener], timeout=_CLOSE_SECONDS)
            for closable in (pubsub, subscriber, client):
                with suppress(Exception):
                    await asyncio.wait_for(closable.aclose(), timeout=_CLOSE_SECONDS)

    async def _listen(self, pubsub: Any) -> None:
        """Mark the watches that events name.

        :raises ConnectionError: the subscription is dead, even if TCP does not notice.
        """
        is_pinged = False
        while True:
            message = await pubsub.get_message(timeout=_SILENCE_SECONDS)
            if message is None:
                if is_pinged:
                    raise ConnectionError("the subscription does not answer")
                await pubsub.ping()
            is_pinged = message is None
            if message is not None and message["type"] == "subscribe":
                # redis-py has reconnected by itself: events in between are lost.
                self._mark(self._all())
            elif message is not None and message["type"] == "message":
                event = read_event(message["data"])
                if event is not None:
                    self._mark(self._questions.get(event["workflow"], {}).values())
                # Buffered messages are read without a pause: let other tasks run during a burst.
                await asyncio.sleep(0)

    async def _wait_for_work(self, listener: asyncio.Task[None]) -> bool:
        """Wait until a watch is marked.

        :returns: False if there has been no watch for a while.
        """
        loop = asyncio.get_running_loop()
        if _was_cancelled():
            raise asyncio.CancelledError
        while True:
            self._wake.clear()
            if listener.done():
                listener.result()
            if loop.time() >= self._recheck_at:
                # By the clock, not after a quiet time: one busy workflow must not delay the recheck of the others.
                self._recheck_at = loop.time() + max(self.recheck_seconds, 0.1)
                self._report_waits()
                self._mark(self._all())
            if self._marked:
                return True
            is_idle = not self._questions
            pause = _IDLE_SECONDS if is_idle else self._recheck_at - loop.time()
            try:
                await asyncio.wait_for(self._wake.wait(), timeout=pause)
            except asyncio.TimeoutError:
                if is_idle and not self._questions:
                    return False

    def _take_marked(self) -> dict[SharedQuestion, set[Watch]]:
        """Take some of the marked questions, with the watches that each is asked for."""
        return {question: self._marked.pop(question) for question in list(islice(self._marked, _ASKED_AT_ONCE))}


def _was_cancelled() -> bool:
    """Tell whether this task is to end; redis-py hides a cancellation that comes while it connects."""
    cancelling = getattr(asyncio.current_task(), "cancelling", None)  # Python 3.11 and newer
    return bool(cancelling and cancelling())
