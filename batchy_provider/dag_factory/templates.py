# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make ``{{ batch.from_date }}`` available in the templates of a workflow's tasks.

A macro of the DAG would not know which task is rendered, and Airflow 3.1 renders before there is a current
context. So this is a Jinja extension: names are looked up by our own context class, which adds one name, `batch`,
and asks Redis only when a template uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, UndefinedError
from jinja2.ext import Extension
from jinja2.runtime import Context
from jinja2.utils import missing

from batchy_provider.core.job_state import JobState
from batchy_provider.core.values import Batch

NAME = "batch"
DATA_NAME = "_batchy_data"
EXTENSIONS = ["jinja2.ext.do", "batchy_provider.dag_factory.templates.BatchExtension"]
"""Extensions of a workflow's Jinja environment; the first is the one that Airflow gives by default."""


@dataclass(frozen=True, slots=True)
class TemplateData:
    """Data about the workflow that templates need.

    :param workflow: its name.
    :param redis_conn_id: connection of the Redis server; None for the default.
    :param handlers: handler → its params, which are not in the state.
    """

    workflow: str
    redis_conn_id: str | None = None
    handlers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TemplateBatch:
    """The batch in templates. In the task of a job: with its own window and params.

    :param from_date: start of the window, inclusive; naive UTC, as in Redis.
    :param to_date: end of the window, exclusive.
    :param params: the job's params.
    """

    workflow: str
    batch_id: int
    kind: str
    from_date: str | None
    to_date: str | None
    params: Mapping[str, Any]


class BatchExtension(Extension):
    """Add the name ``batch`` to templates."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.context_class = BatchContext


class BatchContext(Context):
    """The names of a template, with ``batch`` unless something else has that name."""

    def resolve_or_missing(self, key: str) -> Any:
        """Look up a name; every template calls it for each name that it uses."""
        found = super().resolve_or_missing(key)
        if key != NAME or found is not missing:
            return found
        ti, data = super().resolve_or_missing("ti"), super().resolve_or_missing(DATA_NAME)
        if ti is missing or data is missing:
            return missing
        # One look-up for all templates of a task: Airflow makes one environment for them.
        globals_of_task: Any = self.environment.globals
        known: dict[Any, TemplateBatch] = globals_of_task.setdefault("_batchy_views", {})
        place = (ti.run_id, ti.task_id)
        if place not in known:
            known[place] = _look_up(data, ti)
        return known[place]


def _look_up(data: TemplateData, ti: Any) -> TemplateBatch:
    from batchy_provider.hooks.batchy import BatchyHook
    from batchy_provider.operators.dag_run import run_keys_of

    with BatchyHook(data.redis_conn_id) as store:
        batch = store.batch_of_run(data.workflow, *run_keys_of(data.workflow, ti))
    if batch is None:
        raise UndefinedError(
            f"{{{{ batch }}}} cannot be used in task {ti.task_id!r}: run {ti.run_id!r} of workflow "
            f"{data.workflow!r} has not opened a batch yet; only tasks after open have one. If open succeeded, Redis "
            f"has lost the batch since: `batchy restore {data.workflow}`"
        )
    return batch_for(batch, ti.task_id, data.handlers)


def batch_for(batch: Batch, task_id: str, handlers: Mapping[str, Mapping[str, Any]]) -> TemplateBatch:
    """Return the batch for the templates of a task."""
    job = batch.jobs.get(task_id)
    if job is None:
        window, params = (batch.from_date, batch.to_date), handlers.get(task_id, {})
    else:
        window = (job.get("from_date"), job.get("to_date", job.get("batch_start")))
        params = JobState(job).params
    return TemplateBatch(batch.workflow, batch.batch_id, batch.kind, *window, params)
