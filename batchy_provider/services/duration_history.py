# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Show how long past runs of a workflow and of its jobs took, and how long the next one will probably take."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchy_provider.core.dates import format_date, from_unix, unix_seconds
from batchy_provider.plan.duration_model import MIN_RUNS, DurationModel
from batchy_provider.plan.run_history import RunHistory, run_history

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.core.values import JobDuration
    from batchy_provider.state.store import Store

_DRAWS = 2000
_WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
_LEAST_PERCENT = 3


@dataclass(frozen=True, slots=True)
class PastRun:
    """One successful run.

    :param start: when it began, UTC, ISO 8601.
    :param window_seconds: length of its window; 0 for an empty one.
    """

    start: str
    seconds: float
    window_seconds: float


@dataclass(frozen=True, slots=True)
class DurationNote:
    """What the history shows, for people.

    :param code: ``window``, ``weekday``, ``growth`` or ``too_few``.
    """

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How long past runs took, and how long the next one will probably take.

    :param job: the job; None for the whole workflow.
    :param runs: the latest successful runs, oldest first.
    :param p50: the next run with a usual window takes at most so many seconds in half of all cases; None if that is
        unknown.
    :param p90: it takes at most so many seconds in nine of ten cases; None if that is unknown.
    :param notes: what the history shows.
    """

    job: str | None
    runs: list[PastRun]
    p50: float | None
    p90: float | None
    notes: list[DurationNote] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationsView:
    """The durations of a workflow.

    :param whole: of whole runs, along the job graph.
    :param jobs: of each job.
    """

    workflow: str
    whole: Durations
    jobs: list[Durations]


class DurationService:
    """Show durations, by the same model as the plan.

    :param store: returns the state in Redis.
    :param catalog: the workflow files, which have the job graphs.
    """

    def __init__(self, *, store: Callable[[], Store], catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    def of(self, workflow: str) -> DurationsView:
        """Return the durations of a workflow.

        :raises UnknownWorkflowError: Redis does not know it.
        """
        store = self._store()
        state = store.status(workflow)
        durations = store.durations(workflow)
        now = unix_seconds(store.backend.server_time(workflow))
        whole = run_history(durations, self._graph(workflow), state.disabled)
        order = [name for name in state.jobs if durations.get(name)]
        return DurationsView(
            workflow=workflow,
            whole=_durations(None, whole, now),
            jobs=[_durations(job, _of_job(job, durations[job]), now) for job in order],
        )

    def _graph(self, workflow: str) -> Mapping[str, Collection[str]] | None:
        found = self._catalog.read().workflows.get(workflow)
        if found is None or found.model is None or found.order is None:
            return None
        handlers = {name for name, job in found.model.jobs.items() if job.is_handler}
        return {name: before for name, before in found.order.upstream.items() if name not in handlers}


def _of_job(job: str, durations: Sequence[JobDuration]) -> RunHistory | None:
    return run_history({job: durations})


def _durations(job: str | None, history: RunHistory | None, now: float) -> Durations:
    import numpy as np

    if history is None:
        return Durations(job=job, runs=[], p50=None, p90=None, notes=[_too_few(0)])
    runs = [
        PastRun(format_date(from_unix(int(start))), round(float(seconds), 3), round(float(window), 3))
        for start, seconds, window in zip(history.starts, history.seconds, history.windows, strict=True)
    ]
    model = DurationModel.of(history)
    if model is None:
        return Durations(job=job, runs=runs, p50=None, p90=None, notes=[_too_few(len(runs))])
    draws = model.draws(np.random.default_rng(0), _DRAWS, start=now)
    p50, p90 = (round(float(each), 1) for each in np.quantile(draws, (0.5, 0.9)))
    return Durations(job=job, runs=runs, p50=p50, p90=p90, notes=_notes(model))


def _too_few(runs: int) -> DurationNote:
    known = "no successful run is known" if not runs else f"{runs} successful run{'s are' if runs > 1 else ' is'} known"
    return DurationNote("too_few", f"{known}; an expectation needs {MIN_RUNS}")


def _notes(model: DurationModel) -> list[DurationNote]:
    """Return what changes how long a run takes, as far as the history shows it."""
    notes: list[DurationNote] = []
    if model.by_window:
        notes.append(
            DurationNote("window", f"a window that is twice as long takes {2**model.by_window:.1f} times as long")
        )
    else:
        notes.append(DurationNote("window", "the history does not show that a longer window takes longer"))
    for name, effect in zip(_WEEKDAYS, model.weekdays, strict=True):
        if change := _change(float(effect)):
            notes.append(DurationNote("weekday", f"{name} take {change}"))
    if change := _change(model.growth * 30):
        notes.append(DurationNote("growth", f"it takes {change} each month"))
    return notes


def _change(logarithm: float) -> str | None:
    """Return a change in words; None if it is too small to name."""
    percent = round(100 * math.expm1(logarithm))
    return f"{abs(percent)} % {'longer' if percent > 0 else 'less'}" if abs(percent) >= _LEAST_PERCENT else None
