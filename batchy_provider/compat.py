# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Where Airflow's versions differ: all of it, and nothing else. Importing this imports no Airflow.

A function goes when the oldest Airflow that is supported has no need of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def cron_timetables() -> tuple[Any, Any]:
    """Return the timetables of one cron and of several. Airflow 3.1 has none in its SDK, and takes the core's."""
    try:
        from airflow.sdk import CronTriggerTimetable, MultipleCronTriggerTimetable
    except ImportError:
        from airflow.timetables.trigger import (  # type: ignore[assignment]
            CronTriggerTimetable,
            MultipleCronTriggerTimetable,
        )
    return CronTriggerTimetable, MultipleCronTriggerTimetable


def crons_of_timetable(timetable: Any) -> Sequence[tuple[str, str]]:
    """Return the cron expressions of a timetable with their timezones.

    A task gets the SDK's timetable, or, on Airflow 3.1, the core's, which keeps the same under other names.
    """
    several = getattr(timetable, "timetables", None) or getattr(timetable, "_timetables", None)
    if several:
        return [cron for one in several for cron in crons_of_timetable(one)]
    expression = getattr(timetable, "expression", None) or getattr(timetable, "_expression", None)
    timezone = getattr(timetable, "timezone", None) or getattr(timetable, "_timezone", None)
    if not isinstance(expression, str):
        return []
    return [(expression, str(getattr(timezone, "name", None) or timezone or "UTC"))]


def sync_callback_class() -> Any:
    """Return the class of a deadline's callback that is no coroutine, or None: Airflow 3.1 calls coroutines alone."""
    from airflow.sdk.definitions import deadline

    return getattr(deadline, "SyncCallback", None)


def supervisor_socket() -> int | None:
    """Return the descriptor of this task's socket to its supervisor, or None: `dag.test()` runs a task without one."""
    from airflow.sdk.execution_time import task_runner

    socket = getattr(getattr(task_runner, "SUPERVISOR_COMMS", None), "socket", None)
    return None if socket is None else int(socket.fileno())
