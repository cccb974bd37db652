# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Describe a DAG as plain values: the arguments of the DAG and of its tasks.

A DAG is always built from its blueprint. A later parse takes the blueprint from a cache, and makes no models of the
keys of the file, which would take a tenth of the time of the whole parse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

from batchy_provider.config.job_model import Job, Limits
from batchy_provider.config.job_order import Order
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.run_checks import same_day_workflows
from batchy_provider.config.schedule_model import After, CronSchedule, Wait
from batchy_provider.config.workflow import Workflow, environment, setting
from batchy_provider.core.window_shape import WindowShape

TRIGGER_RULES = {"succeeded": "none_failed", "done": "all_done", "failed": "one_failed"}
"""``when`` → Airflow's trigger rule. A disabled job is skipped, and skipped is not failed."""

DURATIONS = ("retry_delay", "max_retry_delay", "execution_timeout")
"""Settings of a task that are seconds in a blueprint, and a `timedelta` for Airflow."""

_SETTINGS = {
    "retries": "retries",
    "retry_delay": "retry_delay",
    "retry_exponential_backoff": "retry_backoff",
    "max_retry_delay": "max_retry_delay",
    "execution_timeout": "timeout",
    "pool": "pool",
    "queue": "queue",
    "priority_weight": "priority",
    "owner": "owner",
}
"""Argument of an operator → the key that sets it. Most files write few of them, so only those are looked up."""


class JobBlueprint(NamedTuple):
    """What the task of a job is made of.

    :param name: of the job, and the id of its task.
    :param upstream: the jobs that it follows directly.
    :param settings: arguments that all operators take; durations in seconds.
    :param arguments: of its script alone; a bundle as the file names it. Empty if it has an operator.
    :param has_state: whether it has a window and params in Redis. Handlers of failures have none.
    :param is_checked: whether the task runs if the job is not disabled in Redis. False skips it always.
    """

    name: str
    upstream: list[str]
    settings: dict[str, Any]
    arguments: dict[str, Any]
    has_state: bool
    is_checked: bool


class Blueprint(NamedTuple):
    """What the DAG of a workflow is made of.

    :param name: the id of the DAG.
    :param path: of the workflow's file.
    :param dag: arguments of the DAG, those that are plain.
    :param timezone: IANA name; the one of the dates and of the schedule.
    :param start_date: as the file has it; None without one.
    :param end_date: the same.
    :param run_timeout: in seconds.
    :param preset: ``@once`` or ``@continuous``; None for any other schedule.
    :param crons: cron expressions that start runs.
    :param after: which batches of other workflows start runs: keys of `After`. None if none do.
    :param connection: Airflow connection of the Redis server.
    :param common: arguments of all tasks that are no jobs.
    :param scripts: arguments of the scripts of all jobs.
    :param opening: arguments of ``open``.
    :param window: the shape of the windows, durations in seconds.
    :param handlers: handler of failures → its params.
    :param waits: arguments of each wait; durations in seconds.
    :param jobs: in the order of the file.
    :param last: the jobs that ``close`` follows directly.
    :param workflow: the workflow itself, if its DAG needs more than plain values; see `_needs_more`.
    """

    name: str
    path: Path
    dag: dict[str, Any]
    timezone: str
    start_date: str | None
    end_date: str | None
    run_timeout: float | None
    preset: str | None
    crons: list[str]
    after: dict[str, Any] | None
    connection: str | None
    common: dict[str, Any]
    scripts: dict[str, Any]
    opening: dict[str, Any]
    window: dict[str, Any] | None
    handlers: dict[str, dict[str, Any]]
    waits: list[dict[str, Any]]
    jobs: list[JobBlueprint]
    last: list[str]
    workflow: Workflow | None

    @property
    def bundles(self) -> list[str]:
        """The bundles of its scripts, as the file names them."""
        return [job.arguments["bundle"] for job in self.jobs if "bundle" in job.arguments]


def encode(blueprint: Blueprint) -> str | None:
    """Return a blueprint as JSON of ASCII characters in one line; None if it is not all plain values."""
    if blueprint.workflow is not None:
        return None
    fields = blueprint._asdict()
    del fields["path"], fields["workflow"]
    return json.dumps(fields)


def decode(path: Path, text: str) -> Blueprint:
    """Return the blueprint that `encode` has written.

    :param path: of the workflow's file.
    :raises ValueError: if the text is no blueprint.
    """
    try:
        fields = json.loads(text)
        fields["jobs"] = [_job_of(*job) for job in fields["jobs"]]
        return Blueprint(path=path, workflow=None, **fields)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a blueprint: {error}") from error


def _job_of(
    name: str,
    upstream: list[str],
    settings: dict[str, Any],
    arguments: dict[str, Any],
    has_state: bool,
    is_checked: bool,
) -> JobBlueprint:
    """Return the blueprint of a job as JSON has it.

    All DAGs share the texts that most of them have, since Airflow keeps these in memory for each task.
    """
    settings = dict(zip(map(intern, settings), settings.values(), strict=True))
    settings["trigger_rule"] = intern(settings["trigger_rule"])
    arguments = dict(zip(map(intern, arguments), arguments.values(), strict=True))
    if "previous" in arguments:
        arguments["previous"] = [*map(intern, arguments["previous"])]
    return JobBlueprint(intern(name), upstream, settings, arguments, has_state, is_checked)


def blueprint_of(workflow: Workflow) -> Blueprint:
    """Return the blueprint of a workflow that has a DAG."""
    model, order = workflow.model, workflow.order
    assert model is not None
    assert order is not None
    schedule, config = model.schedule, workflow.config()
    is_preset = isinstance(schedule, str) and schedule in ("@once", "@continuous")
    return Blueprint(
        name=workflow.name,
        path=workflow.path,
        dag=_arguments_of_dag(workflow.name, model),
        timezone=model.timezone,
        start_date=model.start_date,
        end_date=model.end_date,
        run_timeout=_seconds(model.run_timeout),
        preset=schedule if is_preset else None,  # type: ignore[arg-type]  # text, by the line before
        crons=[*config.schedule.crons],
        after=_after(schedule) if isinstance(schedule, After) else None,
        connection=model.connection,
        common=_common(model),
        scripts=_said({"workflow": workflow.name, "redis_conn_id": model.connection}),
        opening={
            "jobs": config.jobs,
            "timezone": config.timezone,
            "disabled_jobs": sorted(config.disabled),
            "infa": dict(config.infa) or None,
            "if_open": model.if_open,
        },
        window=None if config.window is None else _window(config.window),
        handlers={name: job.params for name, job in model.jobs.items() if job.is_handler},
        waits=[
            *(_wait(workflow.name, model, wait) for wait in model.wait_for),
            # A success of another day may have started this run. If the day ends before all have succeeded, no batch
            # opens.
            *(
                {**_wait(workflow.name, model, Wait(workflow=other)), "same_day": True, "soft_fail": True}
                for other in same_day_workflows(model)
            ),
        ],
        jobs=[_job(model, order, name) for name in order.upstream],
        last=order.must_meet_close,
        workflow=workflow if _needs_more(workflow, model) else None,
    )


def _needs_more(workflow: Workflow, model: WorkflowModel) -> bool:
    """Tell whether the DAG needs what changes without the file, or the models of keys that few files have."""
    return bool(
        workflow.calendar is not None
        or model.deadline is not None
        or model.run_params
        or workflow.uses_classes
        or any(job.for_each is not None for job in model.jobs.values())
    )


def _arguments_of_dag(name: str, model: WorkflowModel) -> dict[str, Any]:
    given = {
        "dag_id": name,
        "description": model.description,
        "doc_md": model.doc,
        "catchup": model.catchup,
        "max_active_runs": model.max_active_runs,
        "tags": sorted(set(model.tags)),
        "is_paused_upon_creation": model.paused,
    }
    return given if model.max_active_jobs is None else {**given, "max_active_tasks": model.max_active_jobs}


def _after(schedule: After) -> dict[str, Any] | None:
    if isinstance(schedule, CronSchedule) and not schedule.after:
        return None
    return {"after": schedule.after, "any": schedule.any, "outside": schedule.outside, "result": schedule.result}


def _common(model: WorkflowModel) -> dict[str, Any]:
    owner, queue = model.defaults.owner or model.owner, model.defaults.queue
    return _said({"owner": owner, "queue": queue, "redis_conn_id": model.connection})


def _window(shape: WindowShape) -> dict[str, Any]:
    return {
        "until": shape.until,
        "workflows": [*shape.workflows],
        "delay": shape.delay.total_seconds(),
        "align": shape.align,
        "max": _seconds(shape.max),
        "if_empty": shape.if_empty,
    }


def _wait(name: str, model: WorkflowModel, wait: Wait) -> dict[str, Any]:
    scope = wait.scope if isinstance(wait.scope, str) else {"within": wait.scope.within.total_seconds()}
    given = {
        "workflow": wait.workflow,
        "jobs": wait.jobs,
        "scope": scope,
        "timezone": wait.timezone or model.timezone,
        "on_failed": wait.on_failed,
    }
    if scope == "since_last_run":
        given["own_workflow"] = name
    return given if wait.timeout is None else {**given, "timeout": wait.timeout.total_seconds()}


def _job(model: WorkflowModel, order: Order, name: str) -> JobBlueprint:
    job, upstream = model.jobs[name], [*order.upstream[name]]
    return JobBlueprint(
        name=name,
        upstream=upstream,
        settings=_settings(job, model, is_first=not upstream),
        arguments=_script(model, order, name) if job.operator is None else {},
        has_state=not job.is_handler,
        is_checked=job.enabled or not job.is_handler,
    )


def _settings(job: Job, model: WorkflowModel, *, is_first: bool) -> dict[str, Any]:
    written = job.model_fields_set | model.defaults.model_fields_set
    given = {argument: setting(job, model, key) for argument, key in _SETTINGS.items() if key in written}
    given["owner"] = given.get("owner") or model.owner
    given["doc_md"] = job.doc
    # Airflow lets only this rule follow a setup directly; a first job has no other task before it anyway.
    given["trigger_rule"] = "all_success" if is_first else TRIGGER_RULES["done" if job.independent else job.when]
    for each in DURATIONS:
        given[each] = _seconds(given.get(each))
    return _said(given)


def _script(model: WorkflowModel, order: Order, name: str) -> dict[str, Any]:
    job = model.jobs[name]
    limits = setting(job, model, "limits")
    given = {
        "bundle": job.bundle,
        "bash_command": job.bash,
        "sha256": job.sha256,
        "job": None if job.for_each is None else name,  # the task id, too
        "job_params": job.params if job.is_handler else None,
        "input_from": order.inputs.get(name),
        "inputs": job.inputs,
        "outputs": job.outputs,
        "env": environment(job, model) or None,
        "inherit_env": bool(setting(job, model, "inherit_env")),
        # A job that ran several times has no single state that a script could get.
        "previous": [other for other in order.before(name) if model.jobs[other].for_each is None],
        "args": job.script_args,
        "kill_grace_seconds": _seconds(setting(job, model, "kill_grace")),
        "background_timeout": _seconds(setting(job, model, "background_timeout")),
        "limits": None if limits is None else _limits(limits),
    }
    # Airflow keeps all arguments of each task in memory, those that say nothing, too.
    return {key: value for key, value in _said(given).items() if value is not False and value != []}


def _limits(limits: Limits) -> dict[str, int]:
    return _said(
        {
            "cpu_seconds": None if limits.cpu is None else max(1, round(limits.cpu.total_seconds())),
            "memory_bytes": limits.memory,
            "open_files": limits.open_files,
            "file_bytes": limits.file_size,
        }
    )


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that have a value."""
    return {name: value for name, value in given.items() if value is not None}


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()
