# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the unfinished runs of a workflow's DAG are doing: queued, waiting, held or running."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from batchy_provider.config.job_name_checks import WAIT_PREFIX

ActivityState = Literal["queued", "waiting", "held", "on_hold", "starting", "running"]

_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
_ASLEEP = frozenset({"deferred", "up_for_reschedule"})
_MOST_IMPORTANT_FIRST = (
    "running", "deferred", "up_for_reschedule", "up_for_retry", "queued", "scheduled", "restarting",
    "failed", "upstream_failed", "waiting", "success", "skipped", "removed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TaskState:
    """The state of one task instance.

    :param operator: name of the operator's class.
    :param state: Airflow's word; None if Airflow has not scheduled the task yet.
    :param map_index: index of a mapped task; -1 if the task is not mapped.
    """

    task_id: str
    operator: str
    state: str | None
    map_index: int = -1


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run of a DAG that has not ended.

    :param state: ``queued`` or ``running``.
    :param since: when it started, or was queued if it has not started; UTC, ISO 8601.
    :param tasks: its tasks that open a batch or wait for a workflow.
    """

    dag_id: str
    run_id: str
    state: str
    since: str | None
    tasks: Sequence[TaskState] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What the next run of a workflow does before it has opened its batch.

    :param doing: ``queued`` (Airflow has no free slot, or the DAG is paused), ``waiting`` (for other workflows),
        ``held`` (another batch of this workflow is open), ``on_hold`` (a person has put it on hold),
        ``starting``, or ``running`` (it loads a past window, or its batch has ended).
    :param run_id: id of the run.
    :param since: since when that run waits or runs; UTC, ISO 8601.
    :param waits_for: the workflows that it waits for now.
    :param runs: how many runs have not ended, with the run that holds the open batch.
    """

    doing: ActivityState
    run_id: str
    since: str | None
    waits_for: list[str] = field(default_factory=list)
    runs: int = 1


def activity_of(runs: Sequence[ActiveRun], holder: str | None, *, on_hold: bool = False) -> Activity | None:
    """Return what the next run does.

    :param runs: all runs that have not ended, oldest first.
    :param holder: id of the run that holds the live batch open. It is left out: the state of its batch shows it.
    :param on_hold: a person has put the workflow on hold.
    :returns: None if there is no other run.
    """
    others = [run for run in runs if run.run_id != holder]
    if not others:
        return None
    run = min(others, key=lambda each: each.state == "queued")  # a run that has started before one that has not
    doing, waits_for = _doing(run)
    if doing == "held" and on_hold:
        doing = "on_hold"
    return Activity(doing=doing, run_id=run.run_id, since=run.since, waits_for=waits_for, runs=len(runs))


def _doing(run: ActiveRun) -> tuple[ActivityState, list[str]]:
    if run.state == "queued":
        return "queued", []
    openings = [task.state for task in run.tasks if task.operator == "BatchyOpenOperator"]
    waits_for = [
        task.task_id.removeprefix(WAIT_PREFIX)
        for task in run.tasks
        if task.operator == "WaitsySensor" and task.state not in _ENDED and task.state is not None
    ]
    if waits_for and not any(state in _ENDED for state in openings):
        return "waiting", waits_for
    if any(state in _ASLEEP for state in openings):
        return "held", []
    if not openings or any(state in _ENDED for state in openings):
        return "running", []
    return "starting", []


def states_by_task(tasks: Iterable[TaskState]) -> dict[str, str]:
    """Return the state of each task. Of a mapped task, the state that matters most counts: running first, then failed.

    :returns: task id → Airflow's word; ``waiting`` if Airflow has not scheduled the task yet.
    """
    found: dict[str, list[str]] = {}
    for task in tasks:
        found.setdefault(task.task_id, []).append(task.state or "waiting")
    return {task_id: min(states, key=_rank) for task_id, states in found.items()}


def _rank(state: str) -> int:
    return _MOST_IMPORTANT_FIRST.index(state) if state in _MOST_IMPORTANT_FIRST else -1
