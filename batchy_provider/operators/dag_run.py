# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What an Airflow run means for a batch: who opens it, which window, which day, whether it still runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from batchy_provider.core.holders import Holder
    from batchy_provider.core.values import Window
    from batchy_provider.exceptions import BatchHolder

CONF_WINDOW = ("from_date", "to_date")
CONF_MOVE = "move_watermark"
CONF_IGNORE_HOLD = "ignore_hold"
_CLOCKS_DIFFER = timedelta(minutes=10)
_ALIVE = ["queued", "running"]
_RETRIES: dict[str, Any] = {
    "retries": 6,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=2),
}


def retry_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default retries of a task that is safe to repeat, without those that its arguments set.

    :param given: the arguments of the operator. Airflow merges the DAG's `default_args` into them.
    """
    set_by_user = given.keys() | (given.get("default_args") or {}).keys()
    return {name: value for name, value in _RETRIES.items() if name not in set_by_user}


@dataclass(frozen=True, slots=True)
class Run:
    """The attributes of a DAG run that decide about its batch."""

    dag_id: str
    run_id: str
    is_backfill: bool
    conf: Mapping[str, Any]
    run_after: datetime
    interval: tuple[datetime | None, datetime | None]
    logical_date: datetime | None
    is_scheduled: bool = False
    is_by_event: bool = False
    deployment: str | None = None
    new_since: datetime | None = None
    """When it started, if it was never cleared. None for a run that was cleared, and where Airflow does not tell."""
    state: str | None = None
    """Its state when the task started. None where Airflow does not tell."""

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Run:
        """Read the run from a task's context."""
        from batchy_provider.hooks.deployment import deployment_name

        run = context["dag_run"]
        run_type = str(getattr(run.run_type, "value", run.run_type))
        state = getattr(run, "state", None)
        was_cleared = getattr(run, "clear_number", None) != 0
        return cls(
            dag_id=run.dag_id,
            run_id=run.run_id,
            is_backfill=run_type == "backfill",
            conf=run.conf or {},
            run_after=run.run_after,
            interval=(run.data_interval_start, run.data_interval_end),
            logical_date=run.logical_date,
            is_scheduled=run_type == "scheduled",
            is_by_event=run_type == "asset_triggered",
            deployment=deployment_name(),
            new_since=None if was_cleared else getattr(run, "start_date", None),
            state=None if state is None else str(getattr(state, "value", state)),
        )

    def key(self, workflow: str) -> str:
        """Return the key of this run in ``wf:runs``."""
        return self.keys(workflow)[0]

    def keys(self, workflow: str) -> tuple[str, ...]:
        """Return the keys under which ``wf:runs`` may know this run."""
        from batchy_provider.core.holders import run_keys

        return run_keys(workflow, self.dag_id, self.run_id, self.deployment)

    def holder(self) -> Holder:
        """Return this run as the holder of a batch."""
        from batchy_provider.core.holders import Holder

        return Holder(dag_id=self.dag_id, run_id=self.run_id, deployment=self.deployment)

    def opened_since(self, attempt: int | None = None) -> datetime | None:
        """Return the moment before which this run cannot have opened a batch, naive UTC; None if that is not known.

        A batch that is older has the name of this run, but belongs to a run that was deleted in Airflow, perhaps with
        its DAG.

        :param attempt: number of the opening task's try. A later try allows for clocks that differ.
        """
        from batchy_provider.core.dates import to_utc

        if self.new_since is None:
            return None
        return to_utc(self.new_since) - (timedelta(0) if attempt == 1 else _CLOCKS_DIFFER)

    def day(self, timezone: str) -> str:
        """Return the day of this run in ISO format: in a backfill the day of its data, else the day when it was due."""
        from batchy_provider.core.dates import day_of, to_utc

        return day_of(to_utc(self._due), timezone)

    def due(self) -> str:
        """Return when this run was due, or would have been if it is a backfill; ISO 8601 UTC."""
        from batchy_provider.core.dates import format_date

        return format_date(self._due)

    @property
    def _due(self) -> datetime:
        return (self.interval[1] or self.logical_date or self.run_after) if self.is_backfill else self.run_after

    def requested_window(self) -> Window | None:
        """Return the window that the run's conf asks for, if it does."""
        from batchy_provider.core.values import Window

        if not any(self.conf.get(name) is not None for name in CONF_WINDOW):
            return None
        return Window(from_date=self.conf.get("from_date"), to_date=self.conf.get("to_date"))

    def backfill_window(self, timetable: Any) -> Window:
        """Return the run's own data interval.

        A cron trigger timetable gives an empty interval. Then the interval is from the previous fire to this one.

        :param timetable: the DAG's, of Airflow's core or of its task SDK.
        :raises ConfigError: if there is no interval and no cron to work it out from.
        """
        from batchy_provider.compat import schedules_of_timetable
        from batchy_provider.core.dates import to_utc
        from batchy_provider.core.values import Window
        from batchy_provider.exceptions import ConfigError

        start, end = self.interval
        end = end or self.logical_date or self.run_after
        if start is not None and start < end:
            return Window(from_date=start, to_date=end)
        schedules = schedules_of_timetable(timetable)
        if not schedules:
            raise ConfigError(
                f"{self.dag_id}: backfill run {self.run_id!r} has no data interval, and its schedule has no cron to "
                "calculate one from; give from_date and to_date in the run's conf"
            )
        starts = [schedule.fire_before(to_utc(end)) for schedule in schedules]
        return Window(from_date=max(starts), to_date=end)


def run_keys_of(workflow: str, ti: Any) -> tuple[str, ...]:
    """Return the keys under which ``wf:runs`` may know the run of a task.

    :param ti: the running task's instance.
    """
    from batchy_provider.core.holders import run_keys
    from batchy_provider.hooks.deployment import deployment_name

    return run_keys(workflow, ti.dag_id, ti.run_id, deployment_name())


def is_gone(ti: RuntimeTaskInstanceProtocol, mine: Holder, holder: BatchHolder) -> bool:
    """Tell whether the run that holds a batch has ended. A run that Airflow does not know has.

    Airflow can be asked about its own runs only. A holder that is no run, or a run of another Airflow, counts as there.

    :param ti: the instance of the asking run's task.
    :param mine: the asking run.
    """
    if holder.dag_id is None or holder.run_id is None:
        return False
    theirs = holder.deployment
    return (theirs or mine.deployment) == (mine.deployment or theirs) and not is_running(ti, holder)


def is_running(ti: RuntimeTaskInstanceProtocol, holder: BatchHolder) -> bool:
    """Ask Airflow whether the run that holds a batch is queued or running. A run that it does not know is neither."""
    assert holder.dag_id is not None
    assert holder.run_id is not None
    return ti.get_dr_count(dag_id=holder.dag_id, run_ids=[holder.run_id], states=_ALIVE) > 0
