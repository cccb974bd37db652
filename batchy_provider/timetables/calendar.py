# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Run a DAG at the fires of cron expressions, on the days that a calendar of business days and holidays allows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from os import PathLike
from typing import TYPE_CHECKING, Any

from airflow.timetables.base import DagRunInfo, DataInterval, Timetable

from batchy_provider.core.dates import to_utc
from batchy_provider.core.schedule_form import read_schedule, schedule_form
from batchy_provider.core.schedule_words import days_text, summary_text
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.typed_data import FormError
from batchy_provider.exceptions import StateError

if TYPE_CHECKING:
    from airflow.timetables.base import TimeRestriction
    from pendulum import DateTime

    from batchy_provider.core.calendars import Calendar

log = logging.getLogger(__name__)

_TICK = timedelta(microseconds=1)
_LEAST_DELAY = timedelta(minutes=5)
_LONGEST_DESCRIPTION = 1000  # Airflow's database keeps no more


class CalendarTimetable(Timetable):
    """Run a DAG at the fires of cron expressions, on business days, holidays, or the nth business day of a period.

    Use it as the ``schedule`` of a DAG. Runs are as those of Airflow's ``CronTriggerTimetable``: a run starts when it
    is due, and its logical date and both ends of its data interval are that moment. `BatchyOpenOperator` reads the
    schedule from the DAG, so waits with scope ``due``, shaped windows and backfills know on which days the DAG is due.

    ```python
    from batchy_provider.timetables import CalendarTimetable

    nightly = CalendarTimetable(
        "0 2 * * *", timezone="Europe/Berlin", calendar={"holidays": "ECB"}, on="business_days"
    )
    month_end = CalendarTimetable(
        "0 20 * * *", timezone="Europe/Berlin", calendar={"holidays": "DE-BY"}, on={"nth": -1, "of": "month"}
    )
    ```

    A time of day that the clocks skip or repeat fires once: at the moment an hour after the skipped one, and at the
    second of the repeated ones. A cron expression that fires each hour fires in each real hour.

    The serialized DAG has the definition of the calendar, not its dates. A changed calendar makes a new version of the
    DAG; an update of the library ``holidays`` does not.

    :param crons: cron expressions of five fields; a run starts whenever one of them fires.
    :param timezone: IANA name of the timezone that they, and the days of the calendar, are read in.
    :param calendar: the business days, as ``cfg/_calendars.yaml`` has them: a mapping with ``holidays``, ``weekend``,
        ``add`` and ``remove``. Or the name of a calendar of that file, or a `Calendar`.
    :param cfg: the folder of workflow files whose ``_calendars.yaml`` defines the calendar that `calendar` names.
    :param on: ``business_days`` (default), ``holidays``, or ``{"nth": 1, "of": "month"}``: `nth` counts business days
        from either end (-1 is the last one) of a ``week``, ``month``, ``quarter`` or ``year``.
    :param move: what becomes of a fire on a day that is no business day: ``skip`` (default), ``next`` or ``previous``.
    :raises ValueError: if a value cannot be used; it names each.
    """

    def __init__(
        self,
        *crons: str,
        timezone: str = "UTC",
        calendar: str | Mapping[str, Any] | Calendar,
        cfg: str | PathLike[str] | None = None,
        on: str | Mapping[str, Any] | None = None,
        move: str | None = None,
    ) -> None:
        from batchy_provider.timetables.arguments import schedule_of_arguments

        self.due_schedule = schedule_of_arguments(
            crons, timezone=timezone, calendar=calendar, cfg=cfg, on=on, move=move
        )

    @classmethod
    def of(cls, schedule: Schedule) -> CalendarTimetable:
        """Return the timetable of a schedule."""
        timetable = cls.__new__(cls)
        timetable.due_schedule = schedule
        return timetable

    # -- what Airflow stores and shows ------------------------------------------------------------------------

    def serialize(self) -> dict[str, Any]:
        """Return what decides when runs are due, for the serialized DAG."""
        return schedule_form(self.due_schedule)

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> CalendarTimetable:
        """Read what `serialize` returns.

        :raises AirflowTimetableInvalid: if another version of this package wrote something that this one cannot read.
        """
        try:
            timetable = cls.of(read_schedule(data))
        except FormError as error:
            from airflow.exceptions import AirflowTimetableInvalid

            raise AirflowTimetableInvalid(
                f"the stored schedule of this DAG {error}. Install the same version of batchy_provider in the DAG "
                "processor, the scheduler and the API server"
            ) from error
        # In a DAG file nobody reads it, and it would double the time that some DAGs take.
        timetable.description = _description(timetable.due_schedule)
        return timetable

    @property
    def summary(self) -> str:
        """The schedule as Airflow's list of DAGs shows it."""
        return summary_text(self.due_schedule)

    def __eq__(self, other: object) -> bool:
        return self.due_schedule == other.due_schedule if isinstance(other, CalendarTimetable) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.due_schedule)

    def __repr__(self) -> str:
        return f"<CalendarTimetable {self.summary} ({self.due_schedule.timezone})>"

    # -- when runs are due ------------------------------------------------------------------------------------

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """Return the moment of the run: as with a cron trigger timetable, it has no interval."""
        return DataInterval.exact(run_after)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the next run: with catchup the one after the last, without it none that was missed but the latest."""
        last = None if last_automated_data_interval is None else to_utc(last_automated_data_interval.end)
        earliest = None if restriction.earliest is None else to_utc(restriction.earliest)
        try:
            if restriction.catchup:
                due = self._next_of_all(last, earliest)
            else:
                due = self._next_without_missed(last, earliest, _now())
        except StateError as error:
            log.warning("No further run is due: %s", error)
            return None
        if restriction.latest is not None and due > to_utc(restriction.latest):
            return None
        return DagRunInfo.exact(_for_airflow(due))

    def _next_of_all(self, last: datetime | None, earliest: datetime | None) -> datetime:
        if last is not None:
            return self.due_schedule.next_fire(last)
        if earliest is not None:
            return self.due_schedule.next_fire(earliest - _TICK)
        return self._first()

    def _next_without_missed(self, last: datetime | None, earliest: datetime | None, now: datetime) -> datetime:
        candidates = []
        if (latest := self._last_or_none(now)) is not None:
            candidates.append(latest)
        if last is not None or earliest is None:
            candidates.append(self._next_of_all(last, None))
        if earliest is not None:
            candidates.append(self.due_schedule.next_fire(earliest - _TICK))
        return max(candidates)

    def _first(self) -> datetime:
        """Return the first run of a DAG without a start date, as Airflow decides it for cron expressions.

        It is the latest fire if that is recent (a tenth of the time between two fires), else the next one.
        """
        now = _now()
        following, latest = self.due_schedule.next_fire(now - _TICK), self._last_or_none(now)
        if latest is not None and now - latest <= max((following - latest) / 10, _LEAST_DELAY):
            return latest
        return following

    def _last_or_none(self, moment: datetime) -> datetime | None:
        try:
            return self.due_schedule.last_fire(moment)
        except StateError:  # the first fire is still to come
            return None


def _description(schedule: Schedule) -> str:
    """Return the schedule in words, as Airflow shows it beside the summary."""
    from airflow.timetables.trigger import CronTriggerTimetable

    crons = (CronTriggerTimetable(cron, timezone=schedule.timezone).description for cron in schedule.crons)
    words = "; ".join(filter(None, crons)) or ", ".join(schedule.crons)
    if schedule.calendar is not None:
        words += f": {days_text(schedule.calendar.name, schedule.on, schedule.move)}"
    return words[:_LONGEST_DESCRIPTION]


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)


def _for_airflow(moment: datetime) -> DateTime:
    """Return a moment (naive UTC) as Airflow has it."""
    import pendulum

    return pendulum.instance(moment, tz="UTC")
