# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""States of task instances, by task and map index.

Airflow answers with names: ``load`` for a plain task, ``load_1`` for the instance 1 of a mapped one. A task that is
called ``load_1`` has the same name, and one of the two states is lost. So tasks whose names could meet are asked for
in separate requests, and each answer is compared with a count of rows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException

PLAIN = -1
"""Map index of a task that is not mapped, or not yet."""

NAMES_PER_REQUEST = 100
"""The names are part of an address, whose length servers limit."""

_INSTANCE = re.compile(r"(.+)_(0|[1-9][0-9]*)", re.ASCII | re.DOTALL)

States = dict[str, dict[int, str]]
"""Task → map index → state; without instances, an empty mapping."""


class UnknownStatesError(AirflowException):
    """Airflow's answers do not agree, so the states of the tasks are unknown."""


def states_of(ti: Any, dag_id: str, run_id: str, tasks: Collection[str], *, counted: bool = False) -> States:
    """Return the state of each instance of some tasks of a run.

    :param ti: the running task's instance, which asks Airflow.
    :param tasks: task ids; also of tasks that the DAG does not have any more.
    :param counted: compare each answer with the number of instances.
    :raises UnknownStatesError: if the number of instances and the number of states differ.
    """
    states: States = {task: {} for task in tasks}
    for names in requests_for(tasks):
        found = ti.get_task_states(dag_id=dag_id, task_ids=names, run_ids=[run_id]).get(run_id, {})
        known = 0
        for name, given in found.items():
            if (instance := _instance(name, names)) is not None:
                task, index = instance
                states[task][index] = str(getattr(given, "value", given))
                known += 1
        if counted and (count := ti.get_ti_count(dag_id=dag_id, task_ids=names, run_ids=[run_id])) != known:
            raise UnknownStatesError(
                f"Airflow has {count} instances of {', '.join(names)} in run {run_id!r} of {dag_id}, and "
                f"returns the state of {known}. The batch stays open until all states are known"
            )
    return states


def requests_for(tasks: Collection[str]) -> Iterator[list[str]]:
    """Yield the tasks in groups within which no instance of one can have the name of another."""
    names = set(tasks)
    groups: tuple[list[str], list[str]] = ([], [])
    for task in sorted(names):
        # `load`, `load_1`, `load_1_2`: each can only meet the ones next to it.
        length, name = 0, task
        while (found := _INSTANCE.fullmatch(name)) and found[1] in names:
            length, name = length + 1, found[1]
        groups[length % 2].append(task)
    for group in groups:
        for start in range(0, len(group), NAMES_PER_REQUEST):
            yield group[start : start + NAMES_PER_REQUEST]


def worst_of(instances: Mapping[int, str], worst_first: Collection[str]) -> str | None:
    """Return the state that comes first in a list, else any; None without instances."""
    found = list(instances.values())
    return next((state for state in worst_first if state in found), found[0] if found else None)


def _instance(name: str, tasks: Collection[str]) -> tuple[str, int] | None:
    """Return the task and the map index that Airflow means by a name, or None if it is of none of the tasks."""
    if name in tasks:
        return name, PLAIN
    found = _INSTANCE.fullmatch(name)
    return (found[1], int(found[2])) if found is not None and found[1] in tasks else None
