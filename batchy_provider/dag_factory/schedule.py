# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Turn the ``schedule`` of a file into Airflow's timetables and assets."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetAll, AssetAny

from batchy_provider.assets import failed_asset, outside_asset, workflow_asset
from batchy_provider.compat import cron_timetables
from batchy_provider.config.cron_expressions import PRESETS
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.schedule_model import After, CronSchedule


def schedule_of(model: WorkflowModel) -> Any:
    """Return what ``DAG(schedule=…)`` takes."""
    match model.schedule:
        case CronSchedule(calendar=None, after=[]) as schedule:
            return _timetable(schedule.crons, model.timezone)
        case CronSchedule():
            raise ValueError("a schedule with a calendar has no timetable yet")
        case After() as after:
            each = [_assets(name, after, model.connection) for name in after.after]
            if after.any:
                return AssetAny(*(asset for assets in each for asset in assets))
            return AssetAll(*(assets[0] if len(assets) == 1 else AssetAny(*assets) for assets in each))
        case None | "@once" | "@continuous":
            return model.schedule
        case str(cron):
            return _timetable([cron], model.timezone)
        case crons:
            return _timetable(crons, model.timezone)


def _assets(workflow: str, after: After, connection: str | None) -> list[Asset]:
    """Return the assets whose events report the wanted result of a workflow."""
    assets = [] if after.result == "failed" else [workflow_asset(workflow)]
    if after.outside:
        assets.append(outside_asset(workflow, connection))
    if after.result != "success":
        assets.append(failed_asset(workflow, connection))
    return assets


def _timetable(crons: list[str], timezone: str) -> Any:
    # Airflow turns a bare cron string into a timetable by its own default timezone and by a setting.
    one, several = cron_timetables()
    expressions = [PRESETS.get(cron, cron) for cron in crons]
    if len(expressions) == 1:
        return one(expressions[0], timezone=timezone)
    return several(*expressions, timezone=timezone)
