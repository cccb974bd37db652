# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Keep the plan of a long-running process until something happens: an event, a changed file, or time that passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchy_provider.services.events import BACK, LOST

if TYPE_CHECKING:
    from batchy_provider.config.reader import Folder
    from batchy_provider.plan.expected_runs import ExpectedRun
    from batchy_provider.plan.why_facts import Facts
    from batchy_provider.services.events import Event, EventFeed

MAX_SECONDS = 5.0
"""No event tells of what only Airflow knows, such as a queued task, nor that time has passed."""
_WAIT_SECONDS = 5.0
"""How long a request waits for the plan that another one makes, before it makes one of its own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan, and what it was made of.

    :param hours: how far it looks ahead.
    :param folder: the workflow files.
    """

    hours: int
    folder: Folder
    facts: Facts
    runs: list[ExpectedRun]


class PlanCache:
    """Return the last plan again, as long as nothing has happened since its facts were read.

    Each process listens for itself, so it does not matter which server or program has changed something. While the
    events do not arrive, nothing is kept. Safe to share between threads.

    :param feed: the events; None: nothing is ever kept.
    :param expire: called with the name of a workflow to which something has happened; None for all workflows.
    :param max_seconds: see `MAX_SECONDS`.
    """

    def __init__(
        self,
        feed: Callable[[], EventFeed] | None,
        expire: Callable[[str | None], object],
        *,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        self._feed = feed
        self._expire = expire
        self._max_seconds = max_seconds
        self._lock = threading.Lock()
        self._making = threading.Lock()
        self._watching = ExitStack()
        self._is_watching = False
        self._changes = 0
        self._plans: dict[int, tuple[float, Plan]] = {}

    @property
    def is_kept(self) -> bool:
        """Whether plans are kept at all."""
        return self._feed is not None

    def get(self, hours: int, folder: Folder, names: Collection[str], make: Callable[[], Plan]) -> Plan:
        """Return a plan: the last one if it is still true, else a new one.

        :param names: the workflows that it must know of.
        """
        if self._feed is None:
            return make()
        feed = self._watch(self._feed)
        if not feed.is_live:
            return make()
        if (plan := self._kept(feed, hours, folder, names)) is not None:
            return plan
        # Many pages ask again after the same event: one request makes the plan, and the others wait for it.
        is_first = self._making.acquire(timeout=_WAIT_SECONDS)
        try:
            return self._kept(feed, hours, folder, names) or self._made(feed, hours, make)
        finally:
            if is_first:
                self._making.release()

    def _kept(self, feed: EventFeed, hours: int, folder: Folder, names: Collection[str]) -> Plan | None:
        with self._lock:
            made, plan = self._plans.get(hours, (0.0, None))
        if plan is None or not feed.is_live or time.monotonic() - made >= self._max_seconds:
            return None
        is_enough = plan.folder.is_same(folder) and plan.facts.workflows.keys() >= set(names)
        return plan if is_enough else None

    def _made(self, feed: EventFeed, hours: int, make: Callable[[], Plan]) -> Plan:
        with self._lock:
            changes, is_live = self._changes, feed.is_live
        began, plan = time.monotonic(), make()
        with self._lock:
            # What happened while the facts were read may be missing in them.
            if is_live and feed.is_live and self._changes == changes:
                self._plans[hours] = began, plan
        return plan

    def _watch(self, feed: Callable[[], EventFeed]) -> EventFeed:
        with self._lock:
            if not self._is_watching:
                self._watching.enter_context(feed().watch(self._take))
                self._is_watching = True
        return feed()

    def _take(self, event: Event) -> None:
        name = event.get("workflow")
        with self._lock:
            self._changes += 1
            self._plans.clear()
        self._expire(name if isinstance(name, str) and event not in (BACK, LOST) else None)

    def close(self) -> None:
        """Stop listening."""
        with self._lock:
            self._is_watching = False
            self._plans.clear()
        self._watching.close()
