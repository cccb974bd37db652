# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read what the plan needs to know of workflows: their facts, their past runs, and how many runs they may have."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from batchy_provider.config.workflow import setting
from batchy_provider.plan.duration_model import MIN_RUNS, DurationModel
from batchy_provider.plan.expected_runs import PlanInput
from batchy_provider.plan.run_history import RunHistory, history_of
from batchy_provider.state.log_throttle import LogThrottle

if TYPE_CHECKING:
    from datetime import timedelta

    from batchy_provider.config.model import WorkflowModel
    from batchy_provider.config.reader import Folder
    from batchy_provider.config.workflow import Workflow
    from batchy_provider.core.window_shape import WindowShape
    from batchy_provider.plan.airflow_facts import AirflowFacts, DagFacts, TaskFacts
    from batchy_provider.plan.why_facts import Facts, WorkflowFacts
    from batchy_provider.state.past_runs import PastRuns
    from batchy_provider.state.store import Store

_RENEW_SECONDS = 600.0
"""Batches that are history only end without a change of the live state, so durations are read again after this."""
_AT_ONCE = 250
"""The past runs of so many workflows are read at once: those of a thousand take 70 MB as text."""
_unforeseen = LogThrottle(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True)
class _Known:
    """The past runs of a workflow, with all that they depend on.

    :param read_at: when they were read, by the clock of this process.
    :param failure_chance: see `PlanInput`.
    """

    stamp: object
    read_at: float
    history: RunHistory | None
    model: DurationModel | None
    failure_chance: float | None


@dataclass(frozen=True, slots=True)
class _FileInput:
    """What the file of a workflow says to the plan, with the file: one that has not changed is the same object.

    :param window: the shape of its windows.
    :param pools: job → the pool that it takes a slot of.
    :param graph: the jobs that each job follows.
    """

    workflow: Workflow | None
    window: WindowShape | None = None
    pools: Mapping[str, str] | None = None
    graph: object = None

    @classmethod
    def of(cls, workflow: Workflow | None) -> _FileInput:
        if workflow is None:
            return cls(None)
        graph = None if workflow.order is None else tuple(workflow.order.upstream.items())
        if workflow.model is None:
            return cls(workflow, graph=graph)
        return cls(workflow, workflow.config().window, _pools(workflow.model), graph)


LostTries = Mapping[str, Mapping[str, Sequence[float]]]
"""Workflow → job → how many seconds its latest executions lost by tries that failed."""


class LostTriesReader(Protocol):
    """Reads from an Airflow how much time jobs lost by tries that failed."""

    def __call__(self, dag_ids: Collection[str]) -> LostTries:
        """Return it for some DAGs; without the jobs that have lost none."""


class PlanInputs:
    """Read the inputs of the plan. The past runs of a workflow are read again when a batch of it has ended.

    Safe to share between threads.

    :param lost_tries: reads what only Airflow knows of past runs; None where there is no Airflow.
    """

    def __init__(self, lost_tries: LostTriesReader | None = None) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._files: dict[str, _FileInput] = {}
        self._read_lost_tries = lost_tries
        self._lost_tries: LostTries = {}
        self._tried = float("-inf")

    def expire(self, workflow: str | None = None) -> None:
        """Read the past runs of a workflow, or of all, again when they are needed next."""
        with self._lock:
            if workflow is None:
                self._known.clear()
            else:
                self._known.pop(workflow, None)

    def read(self, store: Store, folder: Folder, facts: Facts, airflow: AirflowFacts | None) -> dict[str, PlanInput]:
        """Return the inputs of all workflows of which there are facts."""
        found = facts.workflows
        files = {name: self._file(name, folder.workflows.get(name)) for name in found}
        self._files = files
        stamps = {name: _stamp(each, files[name]) for name, each in found.items()}
        with self._lock:
            now = time.monotonic()
            old = [name for name, stamp in stamps.items() if not self._is_new(name, stamp, now)]
            for first in range(0, len(old), _AT_ONCE):
                some = old[first : first + _AT_ONCE]
                past = store.past_of(some)
                for name in some:
                    history, model = _past(found[name], folder.workflows.get(name), past[name])
                    self._known[name] = _Known(stamps[name], now, history, model, _failure_chance(past[name]))
            known = {name: self._known[name] for name in found}
            lost = self._tries_of(found, now) if airflow is not None else {}
        return {
            name: _input(each, files[name], known[name], airflow, lost.get(name, {})) for name, each in found.items()
        }

    def _file(self, name: str, workflow: Workflow | None) -> _FileInput:
        known = self._files.get(name)
        return known if known is not None and known.workflow is workflow else _FileInput.of(workflow)

    def _tries_of(self, workflows: Collection[str], now: float) -> LostTries:
        """Return what was lost by tries that failed, read once in a while: it takes Airflow's database some time."""
        if self._read_lost_tries is None or now - self._tried < _RENEW_SECONDS:
            return self._lost_tries
        self._tried = now
        try:
            self._lost_tries = self._read_lost_tries(workflows)
        except Exception as error:  # the plan says less without it
            _unforeseen.warning("lost tries", "Airflow does not say which tries have failed", exc_info=error)
        return self._lost_tries

    def _is_new(self, name: str, stamp: object, now: float) -> bool:
        known = self._known.get(name)
        return known is not None and known.stamp == stamp and now - known.read_at < _RENEW_SECONDS


def _stamp(facts: WorkflowFacts, file: _FileInput) -> object:
    """Return what changes when the past runs of a workflow may have changed."""
    state = facts.readable
    batch = None if state is None or state.batch is None else (state.batch.batch_id, state.batch.status)
    off = None if state is None else state.disabled
    return batch, off, file.graph


def _past(
    facts: WorkflowFacts, workflow: Workflow | None, past: PastRuns
) -> tuple[RunHistory | None, DurationModel | None]:
    state = facts.readable
    off: Collection[str] = state.disabled if state is not None else ()
    graph = None
    if workflow is not None and workflow.model is not None and workflow.order is not None:
        handlers = {name for name, job in workflow.model.jobs.items() if job.is_handler}
        graph = {name: before for name, before in workflow.order.upstream.items() if name not in handlers}
    if past.durations is None:
        return None, None
    try:
        history = history_of(past.durations, graph, off)
        return history, None if history is None else DurationModel.of(history)
    except Exception as error:  # an error in one workflow must not hide another
        _unforeseen.warning(facts.workflow, "%s: its past runs say nothing", facts.workflow, exc_info=error)
        return None, None


def _failure_chance(past: PastRuns) -> float | None:
    return past.failed / past.closed if past.closed >= MIN_RUNS else None


def _input(
    facts: WorkflowFacts,
    file: _FileInput,
    known: _Known,
    airflow: AirflowFacts | None,
    retries: Mapping[str, Sequence[float]],
) -> PlanInput:
    model = file.workflow.model if file.workflow is not None else None
    window = file.window
    if model is None and facts.readable is not None:
        window = facts.readable.window
    dag = airflow.dags.get(facts.workflow) if airflow is not None else None
    if dag is not None and model is not None:
        dag = _with_retries(dag, model)
    by_file = model.max_active_jobs if model is not None else None
    return PlanInput(
        facts=facts,
        history=known.history,
        model=known.model,
        max_active_runs=model.max_active_runs if model is not None else 1,
        slice_length=None if window is None else window.max,
        paused=dag is not None and dag.paused,
        failure_chance=known.failure_chance,
        retries=retries,
        jobs=file.pools,
        max_active_tasks=dag.max_active_tasks if dag is not None else by_file,
        dag=dag,
    )


def _pools(model: WorkflowModel) -> dict[str, str]:
    """Return job → the pool that it takes a slot of."""
    jobs = {name: job for name, job in model.jobs.items() if not job.is_handler}
    return {name: setting(job, model, "pool") or "default_pool" for name, job in jobs.items()}


def _with_retries(dag: DagFacts, model: WorkflowModel) -> DagFacts:
    """Return a DAG with the moments at which its tasks that have failed are tried again."""
    if not any(task.state == "up_for_retry" for run in dag.runs for task in run.tasks):
        return dag
    runs = [replace(run, tasks=[_with_retry(task, model) for task in run.tasks]) for run in dag.runs]
    return replace(dag, runs=runs)


def _with_retry(task: TaskFacts, model: WorkflowModel) -> TaskFacts:
    job = model.jobs.get(task.task_id)
    if task.state != "up_for_retry" or task.retry_at is not None or task.since is None or job is None:
        return task
    delay: timedelta | None = setting(job, model, "retry_delay")
    if delay is None:
        return task  # that of Airflow's configuration
    if setting(job, model, "retry_backoff"):
        delay *= 2 ** min(max(task.tries - 1, 0), 20)
        if (longest := setting(job, model, "max_retry_delay")) is not None:
            delay = min(delay, longest)
    return replace(task, retry_at=task.since + delay)
