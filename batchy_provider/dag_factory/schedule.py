# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Turn the ``schedule`` of a file into Airflow's timetables and assets."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetAll, AssetAny

from batchy_provider.assets import failed_asset, outside_asset, workflow_asset
from batchy_provider.compat import asset_or_time_schedule, cron_timetables
from batchy_provider.config.schedule_model import After, CronSchedule
from batchy_provider.config.workflow import Workflow
from batchy_provider.core.schedules import Schedule


def schedule_of(workflow: Workflow) -> Any:
    """Return what ``DAG(schedule=…)`` takes."""
    model = workflow.model
    assert model is not None
    match model.schedule:
        case CronSchedule() as times if times.after:
            # Airflow starts a run at each time, and another one when the other workflows have succeeded.
            return asset_or_time_schedule()(
                timetable=_timetable(workflow.schedule), assets=_condition(times, model.connection)
            )
        case After() as after if not isinstance(after, CronSchedule):
            return _condition(after, model.connection)
        case None | "@once" | "@continuous":
            return model.schedule
    return _timetable(workflow.schedule)


def _condition(after: After, connection: str | None) -> AssetAny | AssetAll:
    """Return which assets' events start a run."""
    each = [_assets(name, after, connection) for name in after.after]
    if after.any:
        return AssetAny(*(asset for assets in each for asset in assets))
    return AssetAll(*(assets[0] if len(assets) == 1 else AssetAny(*assets) for assets in each))


def _assets(workflow: str, after: After, connection: str | None) -> list[Asset]:
    """Return the assets whose events report the wanted result of a workflow."""
    assets = [] if after.result == "failed" else [workflow_asset(workflow)]
    if after.outside:
        assets.append(outside_asset(workflow, connection))
    if after.result != "success":
        assets.append(failed_asset(workflow, connection))
    return assets


def _timetable(schedule: Schedule) -> Any:
    if schedule.calendar is not None:
        from batchy_provider.timetables.calendar import CalendarTimetable

        return CalendarTimetable.of(schedule)
    # Airflow turns a bare cron string into a timetable by its own default timezone and by a setting.
    one, several = cron_timetables()
    if len(schedule.crons) == 1:
        return one(schedule.crons[0], timezone=schedule.timezone)
    return several(*schedule.crons, timezone=schedule.timezone)
