# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""All differences between the supported versions of Airflow. Importing this module imports no Airflow.

Remove a function when the oldest supported Airflow does not need it any more.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchy_provider.core.schedules import Schedule


def cron_timetables() -> tuple[Any, Any]:
    """Return the timetable classes for one cron and for several. Airflow 3.1 has them only in its core."""
    try:
        from airflow.sdk import CronTriggerTimetable, MultipleCronTriggerTimetable
    except ImportError:
        from airflow.timetables.trigger import (  # type: ignore[assignment]  # the core's classes
            CronTriggerTimetable,
            MultipleCronTriggerTimetable,
        )
    return CronTriggerTimetable, MultipleCronTriggerTimetable


def asset_or_time_schedule() -> Any:
    """Return the timetable class that combines times with assets. Airflow 3.1 has it only in its core."""
    try:
        from airflow.sdk import AssetOrTimeSchedule
    except ImportError:
        from airflow.timetables.assets import AssetOrTimeSchedule  # type: ignore[assignment]  # the core's class
    return AssetOrTimeSchedule


def runs_task() -> bool:
    """Tell whether this process runs a task, so that it can ask the API server for variables."""
    # What imported this module is what runs tasks; other processes need not import it to ask.
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    return getattr(runner, "SUPERVISOR_COMMS", None) is not None


def schedule_of_timetable(timetable: Any) -> Schedule:
    """Return when the runs of a timetable are due; not known if it has no cron, or crons of several timezones."""
    from batchy_provider.core.dates import is_zone
    from batchy_provider.core.schedules import NO_SCHEDULE

    found = schedules_of_timetable(timetable)
    if len(found) != 1 or not is_zone(found[0].timezone):  # such as a fixed offset
        return NO_SCHEDULE
    return found[0]


def schedules_of_timetable(timetable: Any) -> Sequence[Schedule]:
    """Return when the runs of a timetable are due, one schedule for each timezone of its crons.

    Of a timetable that combines times with assets, the times count.
    """
    from batchy_provider.core.schedules import Schedule

    timed = getattr(timetable, "timetable", None) or timetable
    if isinstance(own := getattr(timed, "due_schedule", None), Schedule):
        return [own]
    zones: dict[str, list[str]] = {}
    for cron, timezone in _crons_of_timetable(timed):
        zones.setdefault(timezone, []).append(cron)
    return [Schedule(crons=tuple(crons), timezone=timezone) for timezone, crons in zones.items()]


def _crons_of_timetable(timetable: Any) -> Sequence[tuple[str, str]]:
    """Return the cron expressions of a timetable with their timezones.

    A task gets the SDK's timetable. On Airflow 3.1 it gets the core's, which has the same attributes under other names.
    """
    several = getattr(timetable, "timetables", None) or getattr(timetable, "_timetables", None)
    if several:
        return [cron for one in several for cron in _crons_of_timetable(one)]
    expression = getattr(timetable, "expression", None) or getattr(timetable, "_expression", None)
    timezone = getattr(timetable, "timezone", None) or getattr(timetable, "_timezone", None)
    if not isinstance(expression, str):
        return []
    return [(expression, str(getattr(timezone, "name", None) or timezone or "UTC"))]


def serialize_dag(dag: Any) -> dict[str, Any]:
    """Serialize a DAG as the DAG processor does, by the class that has the method in this Airflow."""
    from airflow.serialization import serialized_objects

    # The name is missing in some versions of Airflow, and mypy sees only one.
    cls: Any = getattr(serialized_objects, "DagSerialization", None) or getattr(serialized_objects, "SerializedDAG")  # noqa: B009
    data: dict[str, Any] = cls.to_dict(dag)
    return data


def sync_callback_class() -> Any:
    """Return the class of a deadline's plain callback; None on Airflow 3.1, which only calls coroutines."""
    from airflow.sdk.definitions import deadline

    return getattr(deadline, "SyncCallback", None)


def is_dag_paused(ti: Any, dag_id: str) -> bool | None:
    """Tell a running task whether a DAG is paused; None if that cannot be known. Airflow 3.1 cannot tell it.

    :param ti: the task instance of the context.
    """
    ask = getattr(ti, "get_dag", None)
    if ask is None:
        return None
    try:
        return bool(ask(dag_id).is_paused)
    except Exception:  # there is no such DAG, or the API server does not answer
        return None


def secrets_masker() -> Any:
    """Return the masker of a task's process. In all versions it is a private object of Airflow."""
    from airflow.sdk._shared.secrets_masker import _secrets_masker

    return _secrets_masker()


def airflow_stats() -> Any:
    """Return Airflow's `Stats`, set up.

    Airflow 3.1 has one `Stats`, which sets itself up. Later versions have one for tasks and one for all other programs.
    Each program sets up the one that it uses. If this program has not set up the one for tasks, this function does.
    """
    try:
        from airflow.sdk.observability.stats import Stats
    except ImportError:
        from airflow.stats import Stats

        return Stats
    import sys

    # Its first import on Airflow 3.2 sets up `Stats` once more. Metrics that were emitted before are never sent.
    import airflow.sdk.serde  # noqa: F401
    from airflow.providers.common.compat.sdk import conf
    from airflow.sdk.observability.metrics import stats_utils

    for name in ("airflow.sdk._shared.observability.metrics.stats", "airflow._shared.observability.metrics.stats"):
        module = sys.modules.get(name)
        if module is None:
            continue
        factory = getattr(module, "_factory", None) or getattr(module.Stats, "factory", None)
        # Airflow 3.2 returns a logger that does nothing if `Stats` is not set up, as in the API server.
        if factory is not None and getattr(factory, "__name__", "") != "NoStatsLogger":
            return module.Stats
    try:
        legacy_names = conf.getboolean("metrics", "legacy_names_on", fallback=True)
        Stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=legacy_names)
    except TypeError:  # Airflow 3.2
        Stats.initialize(factory=stats_utils.get_stats_factory(Stats))  # type: ignore[call-arg]  # as it was then
    return Stats


def supervisor_socket() -> int | None:
    """Return the descriptor of this task's socket to its supervisor, or None: `dag.test()` runs a task without one.

    In other programs it is None, too, and this function imports nothing.
    """
    import sys

    task_runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    socket = getattr(getattr(task_runner, "SUPERVISOR_COMMS", None), "socket", None)
    return None if socket is None else int(socket.fileno())


def start_run(dag_id: str, run_id: str, conf: dict[str, Any]) -> bool:
    """Start a run of a DAG from a task, as `TriggerDagRunOperator` does.

    :returns: whether it is new; a run of this id may exist already.
    :raises Exception: if Airflow refuses it.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun

    reply: Any = task_runner.SUPERVISOR_COMMS.send(TriggerDagRun(dag_id=dag_id, run_id=run_id, conf=conf))
    if not isinstance(reply, ErrorResponse):
        return True
    if str(getattr(reply.error, "value", reply.error)) == "DAGRUN_ALREADY_EXISTS":
        return False
    raise RuntimeError(str(reply))


def skip_tasks(task_ids: Sequence[str]) -> None:
    """Skip tasks of the run of the current task that have not started, with any trigger rule."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import SkipDownstreamTasks

    task_runner.SUPERVISOR_COMMS.send(SkipDownstreamTasks(tasks=list(task_ids)))
