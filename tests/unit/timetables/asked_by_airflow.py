# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ask timetables as Airflow's scheduler, backfill and command line do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pendulum
from airflow.timetables.base import TimeRestriction


def aware(moment: datetime | str | None) -> Any:
    """A moment of UTC as Airflow has it."""
    if moment is None:
        return None
    return pendulum.instance(datetime.fromisoformat(moment) if isinstance(moment, str) else moment, tz="UTC")


def naive(moment: Any) -> datetime:
    return moment.in_timezone("UTC").naive()


def next_run(timetable: Any, last: Any, restriction: TimeRestriction) -> Any:
    """The next run after `last`, asked in the way of this version of Airflow."""
    if hasattr(timetable, "next_dagrun_info_v2"):
        return timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction)
    interval = None if last is None else last.data_interval  # Airflow 3.1
    return timetable.next_dagrun_info(last_automated_data_interval=interval, restriction=restriction)


def scheduled(timetable: Any, start: datetime, end: datetime) -> Iterator[Any]:
    """The runs that a scheduler with catchup makes, from a start date to an end date, both inclusive."""
    restriction = TimeRestriction(aware(start), aware(end), catchup=True)
    run = next_run(timetable, None, restriction)
    while run is not None:
        yield run
        run = next_run(timetable, run, restriction)
