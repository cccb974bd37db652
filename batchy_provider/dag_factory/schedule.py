# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""When a DAG runs: the file's ``schedule`` as Airflow's timetables and assets."""

from __future__ import annotations

from typing import Any

from airflow.sdk import AssetAny

from batchy_provider.assets import workflow_asset
from batchy_provider.config.fields import PRESETS
from batchy_provider.config.model import After, WorkflowModel


def schedule_of(model: WorkflowModel) -> Any:
    """Return what ``DAG(schedule=…)`` takes."""
    match model.schedule:
        case After(after=workflows, any=is_any):
            assets = [workflow_asset(name) for name in workflows]
            return AssetAny(*assets) if is_any and len(assets) > 1 else assets
        case None | "@once" | "@continuous":
            return model.schedule
        case str(cron):
            return _timetable([cron], model.timezone)
        case crons:
            return _timetable(crons, model.timezone)


def _timetable(crons: list[str], timezone: str) -> Any:
    # Airflow turns a bare cron string into a timetable by its own default timezone and by a setting.
    try:
        from airflow.sdk import CronTriggerTimetable, MultipleCronTriggerTimetable
    except ImportError:  # Airflow 3.1
        from airflow.timetables.trigger import (  # type: ignore[assignment]
            CronTriggerTimetable,
            MultipleCronTriggerTimetable,
        )

    expressions = [PRESETS.get(cron, cron) for cron in crons]
    if len(expressions) == 1:
        return CronTriggerTimetable(expressions[0], timezone=timezone)
    return MultipleCronTriggerTimetable(*expressions, timezone=timezone)
