# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read and write the JSON form of a workflow's configuration, as far as ``wf:meta`` remembers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from batchy_provider.core.boundaries import UNITS
from batchy_provider.core.cron_times import is_cron
from batchy_provider.core.dates import zone
from batchy_provider.core.schedule_form import read_schedule, schedule_form
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.snapshot import StoredConfig
from batchy_provider.core.typed_data import FormError, build
from batchy_provider.core.window_shape import IfEmpty, Until, WindowShape


@dataclass(frozen=True, slots=True)
class _Config:
    """JSON form of `StoredConfig`."""

    timezone: str
    order: list[str]
    disabled: list[str]
    infa: dict[str, Any]
    crons: list[str] = field(default_factory=list)
    schedule: dict[str, Any] | None = None
    window: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Shape:
    """JSON form of `WindowShape`; durations in seconds."""

    until: Until = "now"
    workflows: list[str] = field(default_factory=list)
    delay: float = 0
    align: str | None = None
    max: float | None = None
    if_empty: IfEmpty = "skip"


def read_config(data: Any) -> StoredConfig:
    """Read what `config_form` returns.

    :raises FormError: if it has another form.
    :raises WindowError: if its timezone is none.
    """
    found = build(_Config, data)
    zone(found.timezone)
    schedule = Schedule(crons=tuple(found.crons), timezone=found.timezone)
    if found.schedule is not None:
        schedule = read_schedule(found.schedule)
    return StoredConfig(
        timezone=found.timezone,
        order=tuple(found.order),
        disabled=frozenset(found.disabled),
        infa=found.infa,
        schedule=schedule,
        window=None if found.window is None else read_shape(found.window),
    )


def config_form(config: StoredConfig) -> dict[str, Any]:
    """Return the JSON form that `read_config` reads."""
    return {
        "timezone": config.timezone,
        "order": list(config.order),
        "disabled": sorted(config.disabled),
        "infa": dict(config.infa),
        **_schedule_part(config),
        **({} if config.window is None else {"window": dump_shape(config.window)}),
    }


def _schedule_part(config: StoredConfig) -> dict[str, Any]:
    schedule = config.schedule
    if not schedule.known:
        return {}
    if schedule == Schedule(crons=schedule.crons, timezone=config.timezone):
        # Cron expressions alone are written as before, so that machines can be updated one by one.
        return {"crons": list(schedule.crons)}
    return {"schedule": schedule_form(schedule)}


def read_shape(data: Any) -> WindowShape:
    """Read what `dump_shape` returns.

    :raises FormError: if it has another form.
    """
    found = build(_Shape, data)
    if found.delay < 0 or (found.max is not None and found.max <= 0):
        raise FormError("has a window whose delay is below 0, or whose max is not above 0")
    if found.align is not None and found.align not in UNITS and not is_cron(found.align):
        raise FormError(f"has a window with align = {found.align!r}; expected {', '.join(UNITS)} or a cron expression")
    try:
        return WindowShape(
            until=found.until,
            workflows=tuple(found.workflows),
            delay=timedelta(seconds=found.delay),
            align=found.align,
            max=None if found.max is None else timedelta(seconds=found.max),
            if_empty=found.if_empty,
        )
    except OverflowError:
        raise FormError("has a window with a duration longer than the calendar") from None


def dump_shape(shape: WindowShape) -> dict[str, Any]:
    """Return the JSON form that `read_shape` reads, without what has its default."""
    default = WindowShape()
    form: dict[str, Any] = {
        "until": shape.until,
        "workflows": list(shape.workflows),
        "delay": shape.delay.total_seconds(),
        "align": shape.align,
        "max": None if shape.max is None else shape.max.total_seconds(),
        "if_empty": shape.if_empty,
    }
    kept = {name: value for name, value in form.items() if getattr(shape, name) != getattr(default, name)}
    return {"until": shape.until, **kept}
