# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""When runs probably end, and how likely they miss their deadlines, as numbers for metrics."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from batchy_provider.core.dates import unix_seconds
from batchy_provider.state.log_throttle import LogThrottle

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.config.workflow import Workflow
    from batchy_provider.plan.expected_runs import ExpectedRun
    from batchy_provider.plan.why_facts import WorkflowFacts
    from batchy_provider.services.answers import WorkflowSummary
    from batchy_provider.services.plan_answers import PlanService
    from batchy_provider.state.store import Store

RENEW_SECONDS = 30.0
"""How long an answer counts: several servers may scrape, and a plan of many workflows takes about a second."""

_unforeseen = LogThrottle(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True)
class ExpectedEnd:
    """The end of one run, as numbers. Moments are Unix seconds; None is not known.

    :param deadline: None without one.
    :param chance: the probability that it misses the deadline.
    """

    end: float | None
    deadline: float | None = None
    chance: float | None = None


class ExpectedEnds:
    """Work out the ends of the runs that have a deadline or are open. Safe to share between threads.

    :param plan: returns what works out the expected runs. To load it takes longer than all other metrics.
    :param catalog: the workflow files.
    :param store: returns the state in Redis.
    :param renew: how many seconds an answer counts.
    """

    def __init__(
        self,
        plan: Callable[[], PlanService],
        catalog: Catalog,
        store: Callable[[], Store],
        *,
        renew: float = RENEW_SECONDS,
    ) -> None:
        self._plan = plan
        self._catalog = catalog
        self._store = store
        self._renew = renew
        self._lock = threading.Lock()
        self._known: tuple[object, float, Mapping[str, ExpectedEnd]] | None = None

    def of(self, summaries: Iterable[WorkflowSummary]) -> Mapping[str, ExpectedEnd]:
        """Return workflow → the end of its run that counts, of those that have one.

        Only workflows with a deadline or an open batch, and those that they need, are simulated. An error of the plan
        leaves these metrics out, and no others.
        """
        # What changes the answer at once: a batch that opens, or closes.
        files = self._catalog.read().workflows
        readable = [each for each in summaries if each.unreadable is None]
        stamp = tuple(
            (each.workflow, each.batch_id, each.status)
            for each in readable
            if each.status == "open" or _has_deadline(files.get(each.workflow))
        )
        with self._lock:
            if self._known is None or self._known[0] != stamp or time.monotonic() - self._known[1] > self._renew:
                with_deadline = {name for name, *_ in stamp if _has_deadline(files.get(name))}
                others = [name for name, *_ in stamp if name not in with_deadline]
                self._known = (stamp, time.monotonic(), self._read(with_deadline, others))
            return self._known[2]

    def _read(self, with_deadline: Collection[str], others: Collection[str]) -> Mapping[str, ExpectedEnd]:
        try:
            # Without past runs, the end of a run is not known.
            names = {*with_deadline, *(self._store().with_past_runs(others) if others else ())}
            if not names:
                return {}
            from batchy_provider.services.plan_answers import DEFAULT_HOURS

            facts, runs = self._plan().foresee(names, DEFAULT_HOURS)
        except Exception as error:
            _unforeseen.warning("plan", "the expected ends cannot be worked out", exc_info=error)
            return {}
        by_name: dict[str, list[ExpectedRun]] = {}
        for run in runs:
            by_name.setdefault(run.workflow, []).append(run)
        found = {name: _end_of(facts.workflows[name], some, facts.now) for name, some in by_name.items()}
        return {name: end for name, end in found.items() if end is not None}


def _has_deadline(workflow: Workflow | None) -> bool:
    return workflow is not None and workflow.model is not None and workflow.model.deadline is not None


def _end_of(facts: WorkflowFacts, runs: Iterable[ExpectedRun], now: datetime) -> ExpectedEnd | None:
    """Return the end of the run that counts: of the nearest deadline ahead, or of the run that is open."""
    from batchy_provider.plan.deadline_outlooks import nearest
    from batchy_provider.plan.expected_runs import RunState

    some = list(runs)
    ahead = [run for run in nearest(facts, some) if run.deadline is not None and run.deadline > now]
    if ahead:
        first = min(ahead, key=lambda run: run.deadline or now)
        return ExpectedEnd(_seconds(first.end_p50), _seconds(first.deadline), first.miss_probability)
    running = next((run for run in some if run.state is RunState.RUNNING), None)
    return None if running is None or running.end_p50 is None else ExpectedEnd(_seconds(running.end_p50))


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else unix_seconds(moment)
