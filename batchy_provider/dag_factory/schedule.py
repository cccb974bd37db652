# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Turn the ``schedule`` of a file into Airflow's timetables and assets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Asset, AssetAll, AssetAny

from batchy_provider.assets import failed_asset, outside_asset, workflow_asset
from batchy_provider.compat import asset_or_time_schedule, cron_timetables
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.vocabulary import SubscribedResult
from batchy_provider.dag_factory.blueprint import Blueprint


def schedule_of(blueprint: Blueprint) -> Any:
    """Return what ``DAG(schedule=…)`` takes."""
    if blueprint.after is None:
        return _timetable(blueprint) if blueprint.crons else blueprint.preset
    condition = _condition(connection=blueprint.connection, **blueprint.after)
    if not blueprint.crons:
        return condition
    # Airflow starts a run at each time, and another one when the other workflows have succeeded.
    return asset_or_time_schedule()(timetable=_timetable(blueprint), assets=condition)


def _condition(
    *, after: Sequence[str], any: bool, result: SubscribedResult, outside: bool, connection: str | None
) -> AssetAny | AssetAll:
    """Return which assets' events start a run."""
    each = [_assets(name, result, connection, outside=outside) for name in after]
    if any:
        return AssetAny(*(asset for assets in each for asset in assets))
    return AssetAll(*(assets[0] if len(assets) == 1 else AssetAny(*assets) for assets in each))


def _assets(workflow: str, result: SubscribedResult, connection: str | None, *, outside: bool) -> list[Asset]:
    """Return the assets whose events report the wanted result of a workflow."""
    assets = [] if result == "failed" else [workflow_asset(workflow)]
    if outside:
        assets.append(outside_asset(workflow, connection))
    if result != "success":
        assets.append(failed_asset(workflow, connection))
    return assets


def _timetable(blueprint: Blueprint) -> Any:
    schedule = Schedule() if blueprint.workflow is None else blueprint.workflow.schedule
    if schedule.calendar is not None:
        from batchy_provider.timetables.calendar import CalendarTimetable

        return CalendarTimetable.of(schedule)
    # Airflow turns a bare cron string into a timetable by its own default timezone and by a setting.
    one, several = cron_timetables()
    if len(blueprint.crons) == 1:
        return one(blueprint.crons[0], timezone=blueprint.timezone)
    return several(*blueprint.crons, timezone=blueprint.timezone)
