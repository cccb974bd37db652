# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the unfinished runs of a workflow's DAG are doing: queued, waiting, held or running."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from batchy_provider.config.job_name_checks import WAIT_PREFIX

Doing = Literal["queued", "waiting", "held", "starting", "running"]

_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
_ASLEEP = frozenset({"deferred", "up_for_reschedule"})
_WORST_FIRST = (
    "running", "deferred", "up_for_reschedule", "up_for_retry", "queued", "scheduled", "restarting",
    "failed", "upstream_failed", "waiting", "success", "skipped", "removed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TaskState:
    """
    The state of one task instance.

    :param operator: the name of its operator's class.
    :param state: Airflow's word; None before it is scheduled.
    """

    task_id: str
    operator: str
    state: str | None
    map_index: int = -1


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """
    A run of a DAG that has not ended.

    :param state: ``queued`` or ``running``.
    :param since: since when; UTC, ISO 8601.
    :param tasks: those that open batches or wait; all tasks where that was asked for.
    """

    dag_id: str
    run_id: str
    state: str
    since: str | None
    tasks: Sequence[TaskState] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """
    What the next run of a workflow does that has no batch open yet.

    :param doing: ``queued`` (no slot, or the DAG is paused), ``waiting`` (for other workflows), ``held`` (another batch
        of this workflow is open), ``starting``, or ``running`` (in a batch of the history, or after its batch ended).
    :param run_id: which run.
    :param since: since when that run waits or runs; UTC, ISO 8601.
    :param waits_for: the workflows that it waits for right now.
    :param runs: how many runs have not ended, the one that holds the open batch included.
    """

    doing: Doing
    run_id: str
    since: str | None
    waits_for: list[str] = field(default_factory=list)
    runs: int = 1


def activity_of(runs: Sequence[ActiveRun], holder: str | None) -> Activity | None:
    """
    Return what the run does that comes next.

    :param runs: all that have not ended, oldest first.
    :param holder: id of the run that has the live batch open; it is seen by its batch.
    :returns: None if there is no other run.
    """
    others = [run for run in runs if run.run_id != holder]
    if not others:
        return None
    run = min(others, key=lambda each: each.state == "queued")  # one that has begun tells more than one that has not
    doing, waits_for = _doing(run)
    return Activity(doing=doing, run_id=run.run_id, since=run.since, waits_for=waits_for, runs=len(runs))


def _doing(run: ActiveRun) -> tuple[Doing, list[str]]:
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


def job_states(tasks: Iterable[TaskState]) -> dict[str, str]:
    """
    Return task → its state, of a mapped task the one that says most.

    One that Airflow has not scheduled is ``waiting``: it has not begun, whatever its batch says.
    """
    found: dict[str, list[str]] = {}
    for task in tasks:
        found.setdefault(task.task_id, []).append(task.state or "waiting")
    return {
        name: min(states, key=lambda state: _WORST_FIRST.index(state) if state in _WORST_FIRST else -1)
        for name, states in found.items()
    }
