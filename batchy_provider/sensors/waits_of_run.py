# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say which waits a sensor has in a run: for which workflows and scope, for which day, and since when they count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from batchy_provider.operators.dag_run import Run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from batchy_provider.core.vocabulary import OnFailed
    from batchy_provider.core.waits import Wait

_SCOPES = ("today", "since_last_run", "any", "due")


class WaitArguments(Protocol):
    """The arguments of a sensor, as `WaitsySensor` documents them."""

    workflow: str | Sequence[str]
    jobs: Sequence[str] | None
    scope: str | Mapping[str, Any]
    own_workflow: str | None
    timezone: str
    on_failed: OnFailed
    same_day: bool
    redis_conn_id: str | None


def read_scope(given: str | Mapping[str, Any]) -> tuple[Any, float | None]:
    """Return the name of a scope and, for ``within``, its seconds.

    :param given: as a user writes it: a name, or ``{"within": "12h"}``.
    :raises ValueError: if there is no such scope.
    """
    if isinstance(given, str) and given in _SCOPES:
        return given, None
    within = given.get("within") if isinstance(given, Mapping) and len(given) == 1 else None
    if isinstance(within, str):
        from batchy_provider.config.durations import parse_duration

        within = parse_duration(within)
    if isinstance(within, (int, float)):
        within = timedelta(seconds=within)
    if not isinstance(within, timedelta) or within <= timedelta():
        raise ValueError(
            f'scope is {given!r}; expected {", ".join(_SCOPES[:-1])} or {_SCOPES[-1]}, or {{"within": "12h"}}'
        )
    return "within", within.total_seconds()


def waits_of(sensor: WaitArguments, context: Context) -> list[Wait]:
    """Return the waits of a sensor in the run of a task, one for each workflow.

    :raises ConfigError: if the sensor names no workflow.
    :raises InvalidNameError: if it names one that cannot be.
    :raises RedisUnavailableError: if Redis does not say from when on a success counts.
    """
    from batchy_provider.core.names import check_workflow_name
    from batchy_provider.core.waits import Wait
    from batchy_provider.exceptions import ConfigError

    run = Run.of(context)
    scope, within = read_scope(sensor.scope)
    since = _since(sensor, context, run) if scope == "since_last_run" and not run.is_backfill else None
    workflows = [sensor.workflow] if isinstance(sensor.workflow, str) else list(dict.fromkeys(sensor.workflow))
    if not workflows:
        raise ConfigError("workflow names none to wait for")
    return [
        Wait(
            workflow=check_workflow_name(workflow),
            jobs=(sensor.jobs,) if isinstance(sensor.jobs, str) else tuple(sensor.jobs or ()),
            scope=scope,
            day=run.day(sensor.timezone),
            timezone=sensor.timezone,
            backfill=run.is_backfill,
            due=run.due() if run.is_backfill or scope == "due" else None,
            within_seconds=within,
            since=since,
            fail_on_failed=sensor.on_failed == "fail",
            same_day=sensor.same_day,
        )
        for workflow in workflows
    ]


def _since(sensor: WaitArguments, context: Context, run: Run) -> str | None:
    """Return from when on a success counts, ISO 8601; None for any."""
    from batchy_provider.core.dates import format_date
    from batchy_provider.hooks.batchy import BatchyHook
    from batchy_provider.services.wait_requests import own_last_success

    if sensor.own_workflow is not None:
        if run.requested_window() is not None:
            return None
        with BatchyHook(sensor.redis_conn_id) as store:
            return own_last_success(store, sensor.own_workflow, run.holder(), run.opened_since())
    last = context.get("prev_start_date_success")
    # Airflow's context gives a proxy, which is not None even where there was no run.
    last = getattr(last, "__wrapped__", last)
    return format_date(last) if last is not None else None


def began(context: Context, *, is_put_off: bool) -> float:
    """Return when the wait of a task began, Unix seconds: when the task first ran, also if it was put off since.

    :param is_put_off: the task ends after each check, and starts again for the next one.
    """
    ti = context["ti"]
    first: Any = (ti.get_first_reschedule_date(context) if is_put_off else None) or ti.start_date
    return float(first.timestamp())
