# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The tasks of a run that have ended, with their states and durations, as Airflow has them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from batchy_provider.operators.task_instances import PLAIN, States

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EndedTask:
    """A task instance that has ended.

    :param index: its map index; -1 if it is not mapped.
    :param seconds: how long its last try took; None if that is not known.
    """

    task: str
    index: int
    state: str
    seconds: float | None


def ended_tasks(ti: Any, dag_id: str, run_id: str) -> Sequence[EndedTask]:
    """Return the task instances of a run that have ended, in one call of Airflow's API.

    :param ti: the running task's instance, which asks Airflow.
    :returns: none if Airflow does not answer, or in another form.
    """
    try:
        return [_ended(each) for each in ti.get_task_breadcrumbs(dag_id=dag_id, run_id=run_id)]
    except Exception as error:
        _log.info("Airflow does not say how long the tasks of run %r took: %s", run_id, error)
        return ()


def _ended(row: Any) -> EndedTask:
    seconds = row.get("duration")
    return EndedTask(
        task=str(row["task_id"]),
        index=int(row.get("map_index", PLAIN)),
        state=str(getattr(row["state"], "value", row["state"])),
        seconds=seconds if isinstance(seconds, (int, float)) else None,
    )


def states_of_ended(ended: Sequence[EndedTask], tasks: Collection[str]) -> States | None:
    """Return the states of some tasks, if these have all ended and none of them is mapped.

    A task that is not mapped has one instance. Of a mapped task, instances that have not ended may be missing.

    :returns: None if the states have to be asked for, with a count of the instances.
    """
    found: States = {task: {} for task in tasks}
    for each in ended:
        if each.task in found:
            found[each.task][each.index] = each.state
    is_whole = all(states.keys() == {PLAIN} and states[PLAIN] != "removed" for states in found.values())
    return found if is_whole else None


def seconds_of(ti: Any, dag_id: str, run_id: str, tasks: Collection[str]) -> dict[str, float] | None:
    """Return what `seconds_of_ended` returns, and ask Airflow for it.

    :param ti: the running task's instance, which asks Airflow.
    """
    return seconds_of_ended(ended_tasks(ti, dag_id, run_id), tasks)


def seconds_of_ended(ended: Sequence[EndedTask], tasks: Collection[str]) -> dict[str, float] | None:
    """Return task → how long its last try took; of a mapped task, its longest instance. None if it is not known.

    Only forecasts use it. So a batch is closed also if Airflow does not answer, or in another form.
    """
    found: dict[str, float] = {}
    for each in ended:
        if each.task in tasks and each.seconds is not None and each.state == "success":
            found[each.task] = max(each.seconds, found.get(each.task, 0.0))
    return found or None
