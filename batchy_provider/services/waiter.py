# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
One state machine for every wait, and a driver for synchronous callers.

`Waiter` does no I/O and reads no clock. Its driver asks about each workflow, hands in the verdicts and the times, and
learns what to report, when to ask again, and when the wait is over. The sensor, the trigger, `batchy wait` on Redis and
over REST, and the REST route all drive it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from batchy_provider.config.durations import format_duration
from batchy_provider.core.vocabulary import WaitState
from batchy_provider.core.wait_set import WaitSet
from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.services.wait_requests import make_wait
from batchy_provider.state.event_channel import read_event
from batchy_provider.state.keys import EVENTS_CHANNEL
from batchy_provider.state.wait_queries import ask

if TYPE_CHECKING:
    from batchy_provider.state.store import Store

RECHECK_SECONDS = 60.0
"""How often to ask without an event: some writers, such as the original server, publish none."""
OUTAGE_PAUSE_SECONDS = 5.0
"""How long to pause after a lost connection."""
_EVENT_POLL_SECONDS = 5.0


class Waiter:
    """
    Track one wait for one or several workflows from its begin to its end.

    A lost connection never ends it: a wait of hours must survive a restart of Redis.

    :param workflows: the workflows waited for; one that is named twice counts once.
    :param began: when the wait began, in seconds of the driver's clock.
    :param timeout: seconds after which to give up; None for never.
    :param recheck: seconds until the next question if no event comes.
    """

    def __init__(
        self,
        workflows: Iterable[str],
        *,
        began: float,
        timeout: float | None = None,
        recheck: float = RECHECK_SECONDS,
    ) -> None:
        self.workflows = tuple(dict.fromkeys(workflows))
        self._waits = WaitSet(self.workflows)
        self._began = began
        self._ends = math.inf if timeout is None else began + timeout
        self._recheck = recheck
        self._outage: str | None = None

    def take(self, workflow: str, verdict: Verdict) -> bool:
        """
        Take the answer about one workflow.

        :returns: whether to report it, because it says something new.
        """
        self._outage = None
        return self._waits.take(workflow, verdict)

    def lose(self, text: str) -> bool:
        """
        Take an error instead of an answer.

        :returns: whether to report it: an outage is reported once, and again if its text changes.
        """
        is_new = text != self._outage
        self._outage = text
        return is_new

    def pause(self, now: float) -> float:
        """
        Return the seconds until the next question; 0 when the time is up.

        :param now: in seconds of the driver's clock.
        """
        seconds = self._recheck if self._outage is None else OUTAGE_PAUSE_SECONDS
        return max(0.0, min(seconds, self._ends - now))

    @property
    def is_over(self) -> bool:
        """Whether all workflows have succeeded or one has failed."""
        return self.state != "waiting"

    @property
    def state(self) -> WaitState:
        """State of the wait."""
        return self._waits.state

    @property
    def text(self) -> str:
        """Sentence that says what ended the wait, or what it still waits for."""
        return self._waits.text

    @property
    def codes(self) -> dict[str, str | None]:
        """Workflow → code of its latest verdict, for programs."""
        return self._waits.codes

    @property
    def batches(self) -> dict[str, int | None]:
        """Workflow → id of the batch that ended its wait."""
        return self._waits.batches

    def summary(self, now: float) -> str:
        """
        Return what ended the wait and how long it took.

        :param now: in seconds of the driver's clock.
        """
        seconds = max(0, round(now - self._began))
        return f"{self.text}; waited {format_duration(timedelta(seconds=seconds))}"


def look(store: Store, waits: Collection[Wait], waiter: Waiter) -> Iterator[tuple[Wait, Verdict]]:
    """Ask about each wait once; yield each verdict that says something new."""
    for wait in waits:
        verdict = ask(store.backend, wait)
        if waiter.take(wait.workflow, verdict):
            yield wait, verdict


class WaitService:
    """
    Make waits, ask about them once, or drive a wait to its end.

    :param store: returns the state in Redis.
    """

    def __init__(self, *, store: Callable[[], Store]) -> None:
        self._store = store

    def make(self, workflow: str, **request: Any) -> Wait:
        """
        Return the wait that a caller asked for, with its day settled.

        :param request: as `make_wait` takes it.
        """
        return make_wait(self._store(), workflow, **request)

    def ask(self, wait: Wait) -> Verdict:
        """Return the state of a wait."""
        return ask(self._store().backend, wait)

    def run(self, waiter: Waiter, make: Callable[[], Sequence[Wait]], report: Callable[[str], object]) -> None:
        """
        Drive a wait until it is over or its time is up.

        :param waiter: its clock is `time.monotonic`.
        :param make: returns the waits; called until it succeeds, then never again, so that a wait that crosses
            midnight keeps its day.
        :param report: called with each sentence for the user.
        """
        store = self._store()
        waits: Sequence[Wait] = ()
        while True:
            try:
                waits = waits or make()
                with _subscribed(store) as events:
                    while True:
                        for _, verdict in look(store, waits, waiter):
                            if not verdict.is_over:
                                report(verdict.text)
                        pause = waiter.pause(time.monotonic())
                        if waiter.is_over or not pause:
                            return
                        _sleep(events, waiter.workflows, pause)
            except (RedisUnavailableError, RedisError) as error:
                is_new = waiter.lose(str(error))
                pause = waiter.pause(time.monotonic())
                if not pause:
                    return
                if is_new:
                    report(f"{error}; the wait continues")
                time.sleep(pause)


@contextmanager
def _subscribed(store: Store) -> Iterator[Any]:
    """Subscribe to events. This comes before the first question, so that no event is missed between them."""
    events = store.backend.client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    try:
        events.subscribe(EVENTS_CHANNEL)
        yield events
    finally:
        events.close()


def _sleep(events: Any, workflows: Collection[str], seconds: float) -> None:
    """Sleep until an event names one of the workflows, at most for some seconds."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        message = events.get_message(timeout=min(left, _EVENT_POLL_SECONDS))
        if message is not None:
            event = read_event(message.get("data"))
            if event is not None and event["workflow"] in workflows:
                return
