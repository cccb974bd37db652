# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide how a batch closes, by the states of the tasks before its closing task."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from batchy_provider.core.values import Batch
    from batchy_provider.core.vocabulary import Outcome, Result
    from batchy_provider.operators.dag_run import Run
    from batchy_provider.operators.task_durations import EndedTask
    from batchy_provider.operators.task_instances import States
    from batchy_provider.state.store import Store

_log = logging.getLogger(__name__)
STATUSES = ("auto", "success", "failed")

_OUTCOMES: dict[str, Outcome] = {
    "success": "success",
    "failed": "failed",
    "skipped": "skipped",
    "upstream_failed": "aborted",
}
_FAILED = ("failed", "aborted")
_WORST_FIRST: tuple[Outcome, ...] = ("failed", "aborted", "success", "skipped")


@dataclass(frozen=True, slots=True)
class Closing:
    """How to close a batch.

    :param outcomes: job → its outcome, of the jobs whose tasks have one.
    :param failure: why the closing task must fail too; None if it must not.
    """

    result: Result
    outcomes: Mapping[str, Outcome]
    failure: str | None = None


def states_before(
    context: Context, run: Run, batch: Batch, before: Collection[str], ended: Sequence[EndedTask] = ()
) -> tuple[States, list[str]]:
    """Return the states of all tasks before the closing task, and the batch's jobs that are no longer in the file.

    The outcome of the latter is not known: Airflow calls them removed, even if they ran.

    :param before: ids of the tasks before the closing task.
    :param ended: tasks of the run that have ended. If they are all that is wanted, nobody is asked.
    """
    from batchy_provider.operators.task_durations import states_of_ended
    from batchy_provider.operators.task_instances import states_of

    tasks = context["dag"].task_dict
    gone = [name for name in batch.jobs if name not in tasks]
    known = None if gone else states_of_ended(ended, before)
    if known is not None:
        return known, []
    found = states_of(context["ti"], run.dag_id, run.run_id, {*before, *gone}, counted=True)
    # If a mapped task has fewer instances than at an earlier try, Airflow calls the surplus ones "removed".
    known = {task: {index: state for index, state in found[task].items() if state != "removed"} for task in before}
    return known, [name for name in gone if found[name]]


def decide_for_run(status: str, ti: RuntimeTaskInstanceProtocol, run: Run, batch: Batch, before: States) -> Closing:
    """Return how to close the batch of a run; see `decide`.

    :param ti: the instance of the closing task.
    :raises ConfigError: `status` is none that a batch can have.
    """
    if status not in STATUSES:
        from batchy_provider.exceptions import ConfigError

        raise ConfigError(f"{batch.workflow}: status is {status!r}; expected auto, success or failed")
    closing = decide(status, batch, before)
    if status == "auto" and closing.result == "success" and _is_marked_failed(ti, run):
        # A person marked the run as failed, or it timed out. The tasks that were skipped for that loaded nothing.
        return replace(closing, result="failed", failure="the run was marked as failed")
    return closing


def _is_marked_failed(ti: RuntimeTaskInstanceProtocol, run: Run) -> bool:
    """Tell whether a run has failed before its closing task started."""
    if run.state is not None:
        return run.state == "failed"
    return ti.get_dr_count(dag_id=run.dag_id, run_ids=[run.run_id], states=["failed"]) > 0


def forget_outputs(store: Store, batch: Batch, before: States) -> None:
    """Remove what the jobs of a closed batch left for later ones. An error is no reason to fail: they go after a week.

    :param before: the states of all tasks before the closing task.
    """
    from batchy_provider.exceptions import BatchyError

    instances = [(task, index) for task, states in before.items() for index in states]
    try:
        store.job_outputs(batch.workflow, batch.batch_id).forget_batch(instances)
    except BatchyError as error:
        _log.info("Redis still has what the jobs of batch %d left for later ones: %s", batch.batch_id, error)


def decide(status: str, batch: Batch, before: States) -> Closing:
    """Return how to close a batch.

    :param status: ``auto``, ``success`` or ``failed``.
    :param before: the states of all tasks before the closing task.
    """
    task_outcomes = {task: _worst(list(states.values())) for task, states in before.items() if states}
    outcomes = {name: task_outcomes[name] for name in batch.jobs if name in task_outcomes}
    if status == "success":
        return Closing("success", outcomes)
    if status == "failed":
        return Closing("failed", outcomes)
    bad = sorted(f"{task} {outcome}" for task, outcome in task_outcomes.items() if outcome in _FAILED)
    bad += [f"{name} has no instance in this run" for name in _without_instance(batch, before)]
    return Closing("failed", outcomes, ", ".join(bad)) if bad else Closing("success", outcomes)


def _without_instance(batch: Batch, before: States) -> list[str]:
    """Return the batch's jobs whose tasks have no instance in this run, so that nothing shows that they ran."""
    return [
        name
        for name, job in batch.jobs.items()
        if name in before and not before[name] and name not in batch.left_out and job.get("outcome") != "skipped"
    ]


def _worst(states: Sequence[str]) -> Outcome:
    """Return the outcome of a task: that of its worst instance, if it is mapped."""
    found = {_OUTCOMES.get(state, "aborted") for state in states}
    return next(outcome for outcome in _WORST_FIRST if outcome in found)
