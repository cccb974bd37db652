# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The state machine of every wait, and a loop that drives it.

`Waiter` does no I/O and reads no clock. Its driver asks about each workflow and gives it the verdicts and the times. It
answers what to report, when to ask again, and whether the wait is over. All waits use it:

- `drive` is the loop of `batchy wait`, on Redis and over the REST API,
- the REST API drives it in `WaitService.answer`, without a thread,
- the trigger drives it with the verdicts of a `WaitMultiplexer`,
- the sensor drives it with Airflow's own pokes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Protocol

from batchy_provider.core.duration_text import format_duration
from batchy_provider.core.vocabulary import WaitState
from batchy_provider.core.wait_intervals import Shortfall
from batchy_provider.core.wait_set import WaitSet
from batchy_provider.core.waits import Verdict

RECHECK_SECONDS = 60.0
"""How often to ask without an event: some writers, such as the original server, publish none."""
OUTAGE_PAUSE_SECONDS = 5.0
"""How long to pause after a lost connection."""


class NoAnswerError(Exception):
    """Nobody answers now; the text says why. The wait continues."""


class VerdictSource(Protocol):
    """What `drive` asks: Redis, or a server."""

    def ask(self, seconds: float) -> Iterable[tuple[str, Verdict]]:
        """Wait up to some seconds for news, then return the verdict on each workflow, by name.

        :param seconds: 0 to return at once.
        :raises NoAnswerError: nobody answers now.
        """


class Waiter:
    """Track one wait for one or several workflows, from its begin to its end.

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
        """Take the answer about one workflow.

        :returns: whether to report it, because it says something new.
        """
        self._outage = None
        return self._waits.take(workflow, verdict)

    def lose(self, text: str) -> bool:
        """Take an error instead of an answer.

        :returns: whether to report it: an outage is reported once, and again if its text changes.
        """
        is_new = text != self._outage
        self._outage = text
        return is_new

    def pause(self, now: float) -> float:
        """Return the seconds until the next question; 0 when the time is up.

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
    def intervals(self) -> dict[str, Sequence[Shortfall]]:
        """Workflow → what the ledger says of it, where the ledger decides."""
        return self._waits.intervals

    @property
    def missing(self) -> Sequence[str]:
        """The workflows that have not succeeded."""
        return self._waits.missing

    @property
    def batches(self) -> dict[str, int | None]:
        """Workflow → id of the batch that ended its wait."""
        return self._waits.batches

    def summary(self, now: float) -> str:
        """Return what ended the wait and how long it took.

        :param now: in seconds of the driver's clock.
        """
        seconds = max(0, round(now - self._began))
        return f"{self.text}; waited {format_duration(timedelta(seconds=seconds))}"


def drive(waiter: Waiter, source: VerdictSource, report: Callable[[str], object]) -> None:
    """Drive a wait until it is over or its time is up.

    :param waiter: its clock is `time.monotonic`.
    :param report: called with each sentence for the user.
    """
    seconds = 0.0
    while True:
        try:
            for workflow, verdict in source.ask(seconds):
                if waiter.take(workflow, verdict) and not verdict.is_over:
                    report(verdict.text)
            is_lost = False
        except NoAnswerError as error:
            is_lost = True
            if waiter.lose(str(error)) and waiter.pause(time.monotonic()):
                report(f"{error}; the wait continues")
        seconds = waiter.pause(time.monotonic())
        if waiter.is_over or not seconds:
            return
        if is_lost:
            time.sleep(seconds)
            seconds = 0.0
